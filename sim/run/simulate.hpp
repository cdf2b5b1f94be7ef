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
  std::vector<CriticalStep> path;
  Report report;
};

/// work -> lower -> run -> check -> summarize. Of devices whose power is known, at the clock at which their
/// mean power is what they hold, or of a step soon after a rest between that and the full one; it is found on
/// the folded step. One clock serves all devices and the whole step: that of the mean device. Throws RunError
/// where the step cannot finish.
Simulation simulate_step(const Scenario& scenario);

/// What of a step counts in a run of many: of one with experts.
struct StepFigures {
  Time time;
  RoutingReport routing;
};
/// The same step, of which nothing else is asked.
StepFigures figures_of_step(const Scenario& scenario);

/// Where the expected error of a step is known and errors are to be drawn, the bars of these draws: the step
/// runs again for each, `jobs` at a time.
void draw_errors(Simulation& simulation, unsigned jobs);

/// Where the scenario is the first of many steps, what the whole run comes to, `jobs` steps at a time.
void add_drift(const Scenario& scenario, Simulation& simulation, unsigned jobs);

/// The same with errors drawn, and where loads are uneven once more with even ones, to report what that
/// costs; and of a run of many steps all of them.
Simulation simulate(const Scenario& scenario, unsigned jobs = 1);

}  // namespace moesim
