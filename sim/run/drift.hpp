// A run of many steps over which the loads of experts drift.
#pragma once

#include "sim/run/simulate.hpp"

namespace moesim {

/// All steps of a scenario's run, of which the first came to `first`: steps that are alike are simulated
/// once, `jobs` at a time, and experts that move are a communication by itself before the step that has them
/// elsewhere. The result does not depend on `jobs`.
DriftReport drift_of(const Scenario& scenario, const StepFigures& first, unsigned jobs);

}  // namespace moesim
