// An order at fixed durations, every pass as soon as it can run: the plain arithmetic of pipelines, without
// devices, links or engines. Schedules that fit their order to durations use it, and tests hold the engines
// to it.
#pragma once

#include <vector>

#include "models/base/units.hpp"
#include "sim/schedule/order.hpp"

namespace moesim {

/// Durations of the passes of one chunk, and of a send between ranks (latency only: it occupies nobody).
struct PassDurations {
  Time forward, backward_input, backward_weight;
  Time overlapped;  ///< a forward and a full backward that share the device
  Time send;
};

/// What a slot takes; of an overlapped pair, asked with its first half, both together.
Time duration_of(const Slot& slot, const PassDurations& durations);

/// Start and end of each slot, rank by rank; the two slots of an overlapped pair have the same.
struct Replay {
  std::vector<std::vector<Time>> starts, ends;
  Time makespan;
  /// Longest span of a rank, from its own first pass to its last.
  Time longest_span() const;
};

/// Throws RunError where passes wait for each other, naming the ranks.
Replay replay(const Order& order, const PassDurations& durations);

}  // namespace moesim
