// One scenario, from the waist to the report.
#pragma once

#include "sim/report/report.hpp"
#include "sim/scenario/scenario.hpp"

namespace moesim {

/// Everything that a run came to.
struct Simulation {
  TaskGraph graph;
  Timeline timeline;
  Report report;
};

/// lower -> run -> check -> summarize; where loads are uneven, once more with even ones to say what that
/// costs. Throws RunError where the step cannot finish.
Simulation simulate(const Scenario& scenario);

}  // namespace moesim
