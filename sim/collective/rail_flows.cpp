#include "sim/collective/rail_flows.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "models/base/error.hpp"

namespace moesim {
namespace {

/// The members of the group on one node, by their place in the group.
struct NodeMembers {
  std::uint32_t node = 0;
  std::vector<std::size_t> ranks;
};

std::vector<NodeMembers> by_node(std::span<const DeviceId> group, const Fabric& fabric) {
  std::vector<NodeMembers> nodes;
  for (std::size_t rank = 0; rank < group.size(); ++rank) {
    const std::uint32_t node = fabric.node_of(group[rank]);
    std::size_t at = 0;
    while (at < nodes.size() && nodes[at].node != node) ++at;
    if (at == nodes.size()) nodes.push_back({node, {}});
    nodes[at].ranks.push_back(rank);
  }
  return nodes;
}

/// Rows for a node are spread over its members evenly: with fewer on one node, that would be wrong.
void check_even(const std::vector<NodeMembers>& nodes, std::string_view algorithm) {
  for (const NodeMembers& node : nodes) {
    if (node.ranks.size() == nodes.front().ranks.size()) continue;
    throw InputError("collectives",
                     fmt::format("'{}' needs as many ranks of an expert group on each of its nodes, "
                                 "but has {} and {} (pairwise takes any group)",
                                 algorithm, nodes.front().ranks.size(), node.ranks.size()));
  }
}

double rows_to_node(const Request& request, std::size_t from, const NodeMembers& target) {
  if (request.rows.empty()) return request.reached_rows_per_node;
  double rows = 0;
  for (const std::size_t to : target.ranks) rows += rows_between(request, from, to, false);
  const double even = request.rows_per_rank * static_cast<double>(target.ranks.size());
  if (request.reach == nullptr)
    return std::min(request.tokens, rows * (request.reached_rows_per_node / even));
  return std::min(rows, rows_to(request, target.ranks, request.limited_to_nodes));
}

/// What one rank sends to the members of one node: over its rail to `entry`, the member there, which passes
/// it on.
void send(std::size_t from, std::size_t entry, const NodeMembers& target, const Request& request,
          std::vector<Flow>& flows) {
  const auto row = static_cast<double>(request.bytes.count);
  const std::span<const DeviceId> group = request.group;
  if (from != entry) flows.push_back({group[from], group[entry], rows_to_node(request, from, target) * row});
  for (const std::size_t to : target.ranks) {
    if (to == entry) continue;
    flows.push_back({group[entry], group[to], rows_between(request, from, to, true) * row});
  }
}

}  // namespace

double rows_to_nodes(const Request& request, const Fabric& fabric) {
  if (request.rows.empty())
    return request.reached_rows_per_node * static_cast<double>(nodes_of(request.group, fabric));
  double rows = 0;
  for (const NodeMembers& target : by_node(request.group, fabric)) {
    for (std::size_t from = 0; from < request.group.size(); ++from)
      rows += rows_to_node(request, from, target);
  }
  return rows / static_cast<double>(request.group.size());
}

std::vector<Flow> rail_flows(const Request& request, const Fabric& fabric, std::string_view algorithm) {
  const std::vector<NodeMembers> nodes = by_node(request.group, fabric);
  check_even(nodes, algorithm);
  std::vector<Flow> flows;
  flows.reserve(request.group.size() * request.group.size());
  for (const NodeMembers& source : nodes) {
    for (std::size_t i = 0; i < source.ranks.size(); ++i) {
      for (const NodeMembers& target : nodes) {
        const std::size_t entry =
            source.node == target.node ? source.ranks[i] : target.ranks[i % target.ranks.size()];
        send(source.ranks[i], entry, target, request, flows);
      }
    }
  }
  return flows;
}

}  // namespace moesim
