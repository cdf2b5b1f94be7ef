// Pipeline schedules. Each writes, per rank, the list of its passes; peers, timing, validity and memory come
// from code that serves all.
#pragma once

#include <cstdint>

#include "models/base/units.hpp"
#include "models/config/family.hpp"
#include "models/config/misfit.hpp"
#include "sim/schedule/order.hpp"

namespace moesim {

/// What a schedule is asked for.
struct PipelineShape {
  std::int64_t ranks = 1;         ///< pipeline ranks
  std::int64_t microbatches = 1;  ///< of a step, both directions together
  /// Typical durations of the passes of one chunk, for schedules that fit their order to them. All above
  /// zero.
  Time forward{1}, backward_input{1}, backward_weight{1}, send{0};
  /// Of the bytes that a microbatch keeps from F to B, what it keeps from B to W. The 6.2B model of the
  /// zero-bubble paper (arXiv 2401.10241, table 1): 32 / (34 + 5 heads x sequence / hidden).
  double kept_for_weight = 0.43;
};

/// A pipeline schedule. A family.
class Schedule {
 public:
  virtual ~Schedule() = default;
  /// Where the stages of the model stand on so many pipeline ranks.
  virtual Chains chains(std::int64_t ranks) const;
  /// Sizes that the schedule cannot serve are a misfit at the key "schedule".
  virtual Fit fits(const PipelineShape& shape) const;
  /// The order for a pipeline that fits, along its chains().
  virtual Order order(const PipelineShape& shape) const = 0;
  /// Chunks over which durations that are given for a rank are split (docs/scenarios.md, pipeline only).
  virtual std::int64_t chunks_of_given_durations() const { return 1; }

  /// Model chunks that each rank holds.
  std::int64_t chunks() const { return chunks_of(chains(2)); }
  /// Whether two ranks hold each stage of the model.
  bool is_bidirectional() const { return chains(2).size() > 1; }
};

/// The members of the family.
Register<Schedule> schedules();

/// One chain over ranks 0, 1, ..., chunk by chunk.
Chains straight_chains(std::int64_t ranks, std::int64_t chunks = 1);
/// One chain that runs down the ranks with chunk 0 and back up with chunk 1.
Chains v_chains(std::int64_t ranks);
/// Two chains: down with chunk 0, and up with chunk 1.
Chains bidirectional_chains(std::int64_t ranks);

/// Microbatches in equal parts over the chains, one part after the other, and empty rank lists to fill.
Order empty_order(const PipelineShape& shape, Chains chains);

}  // namespace moesim
