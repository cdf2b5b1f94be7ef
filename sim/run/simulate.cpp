#include "sim/run/simulate.hpp"

#include "sim/lower/lower.hpp"

namespace moesim {

Simulation simulate_step(const Scenario& scenario) {
  Simulation simulation;
  simulation.graph = lower(scenario);
  simulation.timeline = scenario.engine->run(simulation.graph);
  check(simulation.graph, simulation.timeline);
  simulation.report = summarize(scenario, simulation.graph, simulation.timeline);
  return simulation;
}

Simulation simulate(const Scenario& scenario) {
  Simulation simulation = simulate_step(scenario);
  if (scenario.loads) {
    const Time even = scenario.engine->run(lower(scenario, Loading::even)).makespan();
    simulation.report.routing->imbalance_cost = simulation.report.step_time - even;
  }
  return simulation;
}

}  // namespace moesim
