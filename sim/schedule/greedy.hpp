// An order made by running it: all ranks of a straight pipeline with split backward are simulated, and each
// takes at every moment a pass that it can run. A rule says which; a search turns the rule's numbers.
#pragma once

#include <cstdint>
#include <vector>

#include "models/base/units.hpp"
#include "sim/schedule/order.hpp"
#include "sim/schedule/schedule.hpp"

namespace moesim {

/// What a rank may hold. A microbatch counts one from its F to its B and `kept_for_weight` from there to its
/// W; one whose gradients come both at once counts one until then.
struct ActivationLimit {
  double microbatches = 1;
  double kept_for_weight = 1;
};

/// What the ranks go by. W passes fill the gaps, and are forced where memory is short. Where even then there
/// is no room for what a W of its own would need, both gradients come at once.
struct GreedyRule {
  /// F and B take turns once a rank is `ahead`, as in 1F1B; else a rank runs the B's that are there, then
  /// F's.
  bool in_turn = false;
  /// How many forwards each rank may be ahead of its B's. At least one; no rank gets further than the one
  /// before.
  std::vector<std::int64_t> ahead;
  /// Holds back forwards that would leave no room to split a backward whose W needs more than its F has kept.
  bool room_to_split = false;
  /// An F or W is begun although a B is on its way if at least this share of it is done when the B comes.
  double forward_share = 1, weight_share = 1;
};

/// An order, and what its ranks need when every pass runs as soon as it can.
struct Plan {
  Order order;
  Time span;      ///< longest time from a rank's first pass to its last
  Time makespan;  ///< from the start of the step to its end
};

/// The order that the rule makes of the durations in `shape`; each rank stays within the limit, which is at
/// least one.
Plan greedy_plan(const PipelineShape& shape, const ActivationLimit& limit, const GreedyRule& rule);

/// What so many forwards, input gradients and weight gradients leave on a rank.
inline double held(std::int64_t forwards, std::int64_t inputs, std::int64_t weights, double kept_for_weight) {
  return static_cast<double>(forwards - inputs) + kept_for_weight * static_cast<double>(inputs - weights);
}

/// What a pass takes by the durations that an order is fitted to.
Time duration_of(Pass pass, const PipelineShape& shape);

/// The most that a rank of an order holds, counted as ActivationLimit says.
double peak_activations(const std::vector<Slot>& rank, double kept_for_weight);

}  // namespace moesim
