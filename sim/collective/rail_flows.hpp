// Tokens that cross to each node once, over the NIC of their own rail, and go over NVLink from there
// (DeepSeek-V3, arXiv 2412.19437, section 3.2.2).
#pragma once

#include <string_view>
#include <vector>

#include "sim/collective/collective.hpp"

namespace moesim {

/// The flows of an all-to-all in two steps that run as one. Backwards they load full-duplex links as much.
/// Throws InputError, as `algorithm`, where a node has more ranks of the group than another.
std::vector<Flow> rail_flows(const Request& request, const Fabric& fabric, std::string_view algorithm);

/// Rows of the mean source that go to a node once, over all nodes, its own included.
double rows_to_nodes(const Request& request, const Fabric& fabric);

}  // namespace moesim
