// The eight steps that DualPipe and DualPipeV share (DeepSeek-V3, arXiv 2412.19437, section 3.2.1 and figure
// 5, and the published order of its implementation).
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "sim/schedule/order.hpp"

namespace moesim {

/// One rank of a dual pipeline. Phase 0 is the stream of microbatches that this rank meets early, phase 1 the
/// other.
struct DualRank {
  std::int64_t depth = 1;  ///< ranks from the end to the turning point: P/2 for DualPipe, P for DualPipeV
  std::int64_t rank = 0;   ///< distance from the end at which phase 0 enters
  std::int64_t pairs = 0;  ///< repetitions of the steady step
  /// The slot of the i-th microbatch of a phase.
  std::function<Slot(Pass pass, int phase, std::int32_t index)> slot;
};

/// The order of that rank.
std::vector<Slot> dual_order(const DualRank& rank);

}  // namespace moesim
