// The flows of rings, which several algorithms share.
#pragma once

#include <span>
#include <vector>

#include "sim/collective/collective.hpp"

namespace moesim {

/// Every member sends `bytes` on, spread over as many rings as a node has members; each ring leaves the nodes
/// through another NIC. The first group.size() flows are one ring.
std::vector<Flow> ring_flows(std::span<const DeviceId> group, double bytes, const Fabric& fabric);

}  // namespace moesim
