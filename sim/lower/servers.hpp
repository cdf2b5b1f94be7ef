// Which ranks of a group an operation of the gradients concerns.
#pragma once

#include <vector>

#include "sim/scenario/scenario.hpp"

namespace moesim {

/// The groups that take part: of a plan with servers on each node, a reduce and a broadcast are those of each
/// node, its server first, and an all-reduce is the servers'. Else the groups as they are.
std::vector<std::vector<DeviceId>> concerned(const Scenario& scenario, Operation operation,
                                             const std::vector<std::vector<DeviceId>>& groups);

/// Servers of all the groups: the first of each, or the first of each on each node.
std::vector<DeviceId> servers_of(const Scenario& scenario, const std::vector<std::vector<DeviceId>>& groups);

}  // namespace moesim
