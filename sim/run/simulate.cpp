#include "sim/run/simulate.hpp"

#include "sim/lower/lower.hpp"

namespace moesim {

Simulation simulate_step(const Scenario& scenario) {
  Simulation simulation{.work = work_of(scenario), .graph = {}, .timeline = {}, .report = {}};
  simulation.graph = lower(simulation.work);
  simulation.timeline = scenario.engine->run(simulation.graph);
  check(simulation.graph, simulation.timeline);
  simulation.report = summarize(simulation.work, simulation.graph, simulation.timeline);
  return simulation;
}

Simulation simulate(const Scenario& scenario) {
  Simulation simulation = simulate_step(scenario);
  if (simulation.work.loads != nullptr) {
    const Time even = scenario.engine->run(lower(simulation.work, Loading::even)).makespan();
    simulation.report.routing->imbalance_cost = simulation.report.step_time - even;
  }
  return simulation;
}

}  // namespace moesim
