// What each task of a timeline waited for last.
#pragma once

#include <vector>

#include "sim/graph/task_graph.hpp"
#include "sim/graph/timeline.hpp"

namespace moesim {

/// Of each task the predecessor that ended last, of equals the first; `nothing` where it has none.
std::vector<TaskId> last_before(const TaskGraph& graph, const Timeline& timeline);

}  // namespace moesim
