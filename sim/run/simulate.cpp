#include "sim/run/simulate.hpp"

#include "sim/lower/lower.hpp"

namespace moesim {

Simulation simulate(const Scenario& scenario) {
  Simulation simulation;
  simulation.graph = lower(scenario);
  simulation.timeline = scenario.engine->run(simulation.graph);
  check(simulation.graph, simulation.timeline);
  simulation.report = summarize(scenario, simulation.graph, simulation.timeline);
  return simulation;
}

}  // namespace moesim
