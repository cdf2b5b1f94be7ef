// The error of a step by drawing: every error at once, and the step run again with it.
#pragma once

#include "sim/report/report.hpp"

namespace moesim {

struct Simulation;

/// The bars of that many draws in place of those to first order: each draws every error of the run's times
/// from its own stream, scales the tasks that have it, and runs the graph again; a critical path that changes
/// counts. `jobs` draws at a time; the result does not depend on it. The bars always hold the step time.
ExpectedError drawn_error(const Simulation& run, ExpectedError to_first_order, unsigned jobs);

}  // namespace moesim
