// One scenario, from the waist to the report.
#pragma once

#include <memory>

#include "sim/report/report.hpp"
#include "sim/work/work.hpp"

namespace moesim {

/// Everything that a run came to. The scenario outlives it.
struct Simulation {
  std::shared_ptr<const Scenario> settled{};  ///< the scenario at another clock, where `work` is of that
  Work work;
  TaskGraph graph;
  Timeline timeline;
  Report report;
};

/// work -> lower -> run -> check -> summarize. Of devices whose power is known, at the clock at which their
/// mean power is what they hold; it is found on the folded step. One clock serves all devices and the whole
/// step: that of the mean device. Throws RunError where the step cannot finish.
Simulation simulate_step(const Scenario& scenario);

/// The same, and where loads are uneven once more with even ones, to report what that costs, and as often as
/// errors are to be drawn, `jobs` at a time.
Simulation simulate(const Scenario& scenario, unsigned jobs = 1);

}  // namespace moesim
