// What a run of many steps came to, over which the loads of experts drift.
#pragma once

#include <cstdint>
#include <vector>

#include "models/base/units.hpp"

namespace moesim {

/// One step of the run.
struct DriftStep {
  Time time;                      ///< of the step, with what it waits for experts that move
  double load_max_over_mean = 1;  ///< RoutingReport
  double rank_load_max_over_mean = 1;
  double dropped_token_fraction = 0;
  Time moving;             ///< experts, before it: all of it, also what is hidden
  Time waiting;            ///< of it, that the step waits for
  std::int64_t bytes = 0;  ///< that experts come to which move, over all devices
};

/// All of them.
struct DriftReport {
  std::int64_t tokens = 0;  ///< of a step
  std::vector<DriftStep> steps;
  std::int64_t simulated = 0;    ///< steps that differ
  std::int64_t rebalances = 0;   ///< times that experts moved
  std::int64_t bytes = 0;        ///< that moved in all
  Time time;                     ///< of the whole run
  Time moving, waiting;          ///< of experts that move; of it, what steps wait for
  double mean_rank_load = 1;     ///< mean of rank_load_max_over_mean
  double tokens_per_second = 0;  ///< of the whole run
  std::int64_t count() const { return static_cast<std::int64_t>(steps.size()); }
};

/// Adds up steps of so many tokens each.
DriftReport drift_report(std::vector<DriftStep> steps, std::int64_t tokens, std::int64_t simulated);

}  // namespace moesim
