#include "sim/run/simulate.hpp"

#include <optional>
#include <utility>

#include "models/cost/power.hpp"
#include "sim/lower/lower.hpp"
#include "sim/run/draws.hpp"

namespace moesim {

namespace {

Simulation at_its_clock(const Scenario& scenario, Loading loading) {
  Simulation simulation{.work = work_of(scenario), .graph = {}, .timeline = {}, .report = {}};
  simulation.graph = lower(simulation.work, loading);
  simulation.timeline = scenario.engine->run(simulation.graph);
  check(simulation.graph, simulation.timeline);
  simulation.report = summarize(simulation.work, simulation.graph, simulation.timeline);
  return simulation;
}

Simulation at_clock(const Scenario& scenario, double clock, Resolution resolution, Loading loading) {
  const auto settled = std::make_shared<Scenario>(scenario);
  settled->clock = clock;
  settled->resolution = resolution;
  Simulation simulation = at_its_clock(*settled, loading);
  simulation.settled = settled;
  return simulation;
}

Simulation simulate_step(const Scenario& scenario, Loading loading) {
  if (!scenario.cluster || !scenario.cluster->device.power || scenario.communication)
    return at_its_clock(scenario, loading);
  std::optional<Simulation> step;
  std::optional<Time> at_full_clock;
  const double clock = settled_clock(scenario.cluster->device, [&](double tried) {
    step.emplace(at_clock(scenario, tried, Resolution::folded, loading));
    if (!at_full_clock) at_full_clock = step->report.step_time;
    return step->report.power->held;
  });
  if (clock < 1) step->report.power->limit_cost = step->report.step_time - *at_full_clock;
  if (scenario.resolution == Resolution::folded) return std::move(*step);
  Simulation full = at_clock(scenario, clock, scenario.resolution, loading);
  full.report.power->limit_cost = step->report.power->limit_cost;
  return full;
}

}  // namespace

Simulation simulate_step(const Scenario& scenario) { return simulate_step(scenario, Loading::as_routed); }

Simulation simulate(const Scenario& scenario, unsigned jobs) {
  Simulation simulation = simulate_step(scenario);
  if (simulation.work.loads != nullptr) {
    const Time even = simulate_step(scenario, Loading::even).report.step_time;
    simulation.report.routing->imbalance_cost = simulation.report.step_time - even;
  }
  std::optional<ExpectedError>& error = simulation.report.expected_error;
  if (error && scenario.certainty.draws > 0) error = drawn_error(simulation, *error, jobs);
  return simulation;
}

}  // namespace moesim
