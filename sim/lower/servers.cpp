#include "sim/lower/servers.hpp"

#include <algorithm>

namespace moesim {
namespace {

/// The members of a group on each of its nodes, in the group's order.
std::vector<std::vector<DeviceId>> split_by_node(const std::vector<DeviceId>& group, const Fabric& fabric) {
  std::vector<std::vector<DeviceId>> nodes;
  for (const DeviceId device : group) {
    const auto same = std::find_if(nodes.begin(), nodes.end(), [&](const std::vector<DeviceId>& node) {
      return fabric.node_of(node.front()) == fabric.node_of(device);
    });
    if (same == nodes.end()) {
      nodes.push_back({device});
    } else {
      same->push_back(device);
    }
  }
  return nodes;
}

std::vector<DeviceId> firsts(const std::vector<std::vector<DeviceId>>& groups) {
  std::vector<DeviceId> first;
  for (const std::vector<DeviceId>& group : groups) first.push_back(group.front());
  return first;
}

}  // namespace

std::vector<std::vector<DeviceId>> concerned(const Scenario& scenario, Operation operation,
                                             const std::vector<std::vector<DeviceId>>& groups) {
  const GradientPlan& plan = scenario.gradient_sync;
  if (plan.updater != Updater::server || !plan.server_per_node) return groups;
  std::vector<std::vector<DeviceId>> result;
  for (const std::vector<DeviceId>& group : groups) {
    const std::vector<std::vector<DeviceId>> nodes = split_by_node(group, scenario.fabric());
    if (operation == Operation::all_reduce) {
      result.push_back(firsts(nodes));
    } else {
      result.insert(result.end(), nodes.begin(), nodes.end());
    }
  }
  return result;
}

std::vector<DeviceId> servers_of(const Scenario& scenario, const std::vector<std::vector<DeviceId>>& groups) {
  return firsts(concerned(scenario, Operation::broadcast, groups));
}

}  // namespace moesim
