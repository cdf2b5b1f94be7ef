// What each actor does at each moment of a timeline.
#pragma once

#include <array>
#include <vector>

#include "sim/graph/task_graph.hpp"
#include "sim/graph/timeline.hpp"

namespace moesim {

/// Times of one actor, from zero to the makespan. `compute` excludes the optimizer.
struct Occupancy {
  Time compute, optimizer, idle;
  std::array<Time, work_count> busy;  ///< communication in flight, by Work, whatever else goes on
  std::array<Time, work_count>
      exposed;                 ///< communication while no compute runs; the first in Work's order counts
  Time first_pass, last_pass;  ///< start of the first and end of the last task that belongs to a microbatch
};

/// Occupancy of every actor.
std::vector<Occupancy> occupancy(const TaskGraph& graph, const Timeline& timeline);

}  // namespace moesim
