// One scenario, from the waist to the report.
#pragma once

#include "sim/report/report.hpp"
#include "sim/work/work.hpp"

namespace moesim {

/// Everything that a run came to. The scenario outlives it.
struct Simulation {
  Work work;
  TaskGraph graph;
  Timeline timeline;
  Report report;
};

/// work -> lower -> run -> check -> summarize. Throws RunError where the step cannot finish.
Simulation simulate_step(const Scenario& scenario);

/// The same, and where loads are uneven once more with even ones, to report what that costs.
Simulation simulate(const Scenario& scenario);

}  // namespace moesim
