// A schedule as a few numbers: what an order costs at any durations of its passes, without its slots.
//
// At given durations the makespan of an order is its longest path, so every path is a lower bound: passes of
// each kind along it, times their durations. The paths that are longest at a few typical durations are kept,
// and the longest of them is taken at the durations at hand. Path, work and memory of a rank grow linearly
// with microbatches once the pipeline is full, so long steps are extrapolated from two shorter ones.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "sim/schedule/schedule.hpp"

namespace moesim {

/// Something for each kind of pass: F, BW, B, W, F beside BW, and sends.
struct OfPasses {
  double forward = 0, backward = 0, backward_input = 0, backward_weight = 0, overlapped = 0, send = 0;

  OfPasses& operator+=(const OfPasses& more);
  OfPasses& operator*=(double factor);
};
/// How many of them, and seconds of each, in the mean chunk.
using PassCounts = OfPasses;
using PassSeconds = OfPasses;

inline double total(const PassCounts& counts, const PassSeconds& each) {
  return counts.forward * each.forward + counts.backward * each.backward +
         counts.backward_input * each.backward_input + counts.backward_weight * each.backward_weight +
         counts.overlapped * each.overlapped + counts.send * each.send;
}

/// Forwards of one chunk beside backwards of another on one rank.
struct OverlappedChunks {
  std::int16_t forward = 0, backward = 0;
  std::int32_t count = 0;
};

/// Microbatches of a chunk that a rank holds: before their input gradients, and then before their weight
/// gradients.
struct AliveCounts {
  double for_backward = 0, for_weight = 0;
};

/// What a rank holds when a pass of which more may be held in its midst begins, or after any other.
struct AliveMoment {
  std::vector<AliveCounts> chunks;
  std::int16_t input = -1;                   ///< the chunk whose input gradient begins, alone; -1: none
  std::int16_t forward = -1, backward = -1;  ///< those of a pair that begins; -1: none
  bool is_alike(const AliveMoment& other) const {
    return input == other.input && forward == other.forward && backward == other.backward;
  }
};

/// Of a rank's chunks, those in whose forward, and in whose backward, something comes from another rank.
struct Arrivals {
  double forward = 0, backward = 0;
};

/// What an order comes to.
struct PipelineProfile {
  bool is_refused = false;  ///< the schedule cannot serve these sizes; nothing else holds then
  std::uint64_t order = 0;  ///< equal where all passes and their order are; 0: not known
  std::int64_t stages = 1;
  std::size_t chunks = 1;
  bool is_bidirectional = false;
  bool weights_apart = false;      ///< some weight gradients have a pass of their own
  std::vector<std::size_t> stage;  ///< of (rank, chunk)
  std::vector<PassCounts> work;    ///< by rank
  std::vector<PassCounts> paths;   ///< longest ones
  std::vector<Arrivals> arrivals;  ///< by rank
  /// By rank; of a step no longer than needed to see which are beside which.
  std::vector<std::vector<OverlappedChunks>> overlapped;
  /// By rank: the moments at which it may hold most, whatever stages keep. None of them holds as much as
  /// another of every kind.
  std::vector<std::vector<AliveMoment>> moments;
  /// Whether the last stage stands on a rank that holds no first one.
  bool is_head_apart = false;
  std::span<const std::size_t> stages_of(std::size_t rank) const {
    return std::span(stage).subspan(rank * chunks, chunks);
  }
};

/// The profile of a schedule on that many ranks.
PipelineProfile profile_of(const Schedule& schedule, std::int64_t ranks, std::int64_t microbatches);

}  // namespace moesim
