// What each actor does at each moment of a timeline.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "sim/graph/task_graph.hpp"
#include "sim/graph/timeline.hpp"

namespace moesim {

/// What a pass does to its device; the rows of "where passes spend their time".
enum class Phase : std::uint8_t { forward, backward, backward_weight, overlapped };
inline constexpr std::size_t phase_count = 4;
inline constexpr std::array<std::string_view, phase_count> phase_names{"forward", "backward",
                                                                       "backward_weight", "overlapped"};

/// Times of one actor, from zero to the makespan. `compute` excludes the optimizer.
struct Occupancy {
  std::int64_t devices = 1;  ///< that the actor stands for, or 1 where all stand for as many
  Time compute, optimizer, idle;
  std::int64_t pauses = 0;                ///< spans of idle time
  Time held_up;                           ///< nothing computes since the host has not issued what is next
  std::array<Time, activity_count> busy;  ///< communication in flight, by Activity, whatever else goes on
  std::array<Time, activity_count>
      exposed;  ///< communication while no compute runs; the first in Activity's order counts
  std::array<Time, phase_count> phases;  ///< compute and exposed exchanges, by the pass that they belong to
  Time first_pass, last_pass;  ///< start of the first and end of the last task that belongs to a microbatch
};

/// Occupancy of every actor.
std::vector<Occupancy> occupancy(const TaskGraph& graph, const Timeline& timeline);

}  // namespace moesim
