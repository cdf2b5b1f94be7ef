// Links between switches that never hold anybody up, because the links below them do first.
#pragma once

#include <vector>

#include "models/cluster/fabric.hpp"
#include "sim/graph/task_graph.hpp"

namespace moesim {

/// By resource of the graph, whether it never binds. What goes over a link between switches comes over, or
/// goes on to, the links on the far side of one of its ends. Where these together are no faster than the link
/// itself, it is busy for no longer than their mean, and the busiest of them binds before.
std::vector<bool> never_binding(const TaskGraph& graph, const Fabric& fabric);

}  // namespace moesim
