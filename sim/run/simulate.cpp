#include "sim/run/simulate.hpp"

#include <optional>
#include <utility>

#include "models/cost/power.hpp"
#include "sim/lower/lower.hpp"
#include "sim/report/error_model.hpp"
#include "sim/run/draws.hpp"
#include "sim/run/drift.hpp"

namespace moesim {

namespace {

Simulation at_its_clock(const Scenario& scenario, Loading loading) {
  Simulation simulation{.work = work_of(scenario), .graph = {}, .timeline = {}, .path = {}, .report = {}};
  simulation.graph = lower(simulation.work, loading);
  simulation.timeline = scenario.engine->run(simulation.graph);
  check(simulation.graph, simulation.timeline);
  simulation.path = critical_path(simulation.graph, simulation.timeline);
  simulation.report = summarize(simulation.work, simulation.graph, simulation.timeline, simulation.path);
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

/// Whether the clock of devices follows from what they draw.
bool has_clock(const Scenario& scenario) {
  return scenario.cluster && scenario.cluster->device.power && !scenario.communication;
}

/// A step without its expected error.
Simulation run_step(const Scenario& scenario, Loading loading) {
  if (!has_clock(scenario)) return at_its_clock(scenario, loading);
  const Device& device = scenario.cluster->device;
  std::optional<Simulation> step;
  std::optional<Time> at_full_clock;
  const double settled = settled_clock(device, [&](double tried) {
    step.emplace(at_clock(scenario, tried, Resolution::folded, loading));
    if (!at_full_clock) at_full_clock = step->report.step_time;
    return step->report.power->held;
  });
  const double clock = clock_after_rest(device, settled, *at_full_clock, scenario.step_after_rest);
  if (clock != settled) step.emplace(at_clock(scenario, clock, Resolution::folded, loading));
  const Time limit_cost = step->report.step_time - *at_full_clock;
  if (scenario.resolution != Resolution::folded)
    step.emplace(at_clock(scenario, clock, scenario.resolution, loading));
  step->report.power->limit_cost = limit_cost;
  return std::move(*step);
}

}  // namespace

Simulation simulate_step(const Scenario& scenario) {
  Simulation simulation = run_step(scenario, Loading::as_routed);
  simulation.report.expected_error =
      expected_error(simulation.work, simulation.graph, simulation.path, scenario.certainty);
  return simulation;
}

void draw_errors(Simulation& simulation, unsigned jobs) {
  std::optional<ExpectedError>& error = simulation.report.expected_error;
  simulation.report.draws = simulation.work.scenario.certainty.draws;
  if (error && simulation.work.scenario.certainty.draws > 0) error = drawn_error(simulation, *error, jobs);
}

StepFigures figures_of_step(const Scenario& scenario) {
  if (has_clock(scenario)) {
    const Report report = run_step(scenario, Loading::as_routed).report;
    return {.time = report.step_time, .routing = *report.routing};
  }
  const Work work = work_of(scenario);
  const TaskGraph graph = lower(work);
  const Timeline timeline = scenario.engine->run(graph);
  return {.time = timeline.makespan(), .routing = *routing_of(work)};
}

void add_drift(const Scenario& scenario, Simulation& simulation, unsigned jobs) {
  if (!scenario.drift) return;
  const StepFigures first{.time = simulation.report.step_time, .routing = *simulation.report.routing};
  simulation.report.drift = drift_of(scenario, first, jobs);
}

Simulation simulate(const Scenario& scenario, unsigned jobs) {
  Simulation simulation = simulate_step(scenario);
  if (simulation.work.loads != nullptr) {
    const Time even = run_step(scenario, Loading::even).report.step_time;
    simulation.report.routing->imbalance_cost = simulation.report.step_time - even;
  }
  draw_errors(simulation, jobs);
  add_drift(scenario, simulation, jobs);
  return simulation;
}

}  // namespace moesim
