// A timeline in slices: each task on the streams of the actors that it keeps busy, in lanes without overlap.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "sim/graph/task_graph.hpp"
#include "sim/graph/timeline.hpp"

namespace moesim {

/// The lanes of an actor by Stream, top down.
inline constexpr std::array<std::string_view, 6> stream_names{"compute",   "exchange", "pipeline receive",
                                                              "gradients", "host",     "host's memory"};

/// A task on an actor's stream.
struct Slice {
  ActorId actor;
  Stream stream;
  TaskId task;
  Time start, end;
  std::uint32_t lane = 0;  ///< of the stream: the first that is free
};

/// All slices, by actor, stream and start. Barriers are left out; a communication is on every actor that
/// takes part in it. Those of one lane do not overlap.
std::vector<Slice> slices_of(const TaskGraph& graph, const Timeline& timeline);

}  // namespace moesim
