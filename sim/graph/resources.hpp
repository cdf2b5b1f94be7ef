// From links to resources: what the engines share.
#pragma once

#include <span>

#include "sim/graph/task_graph.hpp"

namespace moesim {

/// Fills `capacities`, `loads`, `resource_of_link` and each pattern's range in them from the patterns' link
/// loads. Links that every pattern keeps busy for the same time become one resource; a link that some other
/// link outlasts in every pattern can never bind and is left out. Throws RunError for traffic on a link
/// without bandwidth.
void add_resources(TaskGraph& graph, std::span<const Rate> link_rates);

}  // namespace moesim
