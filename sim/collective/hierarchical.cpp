// All-to-all in two steps that run as one (DeepSeek-V3, arXiv 2412.19437, section 3.2.2): a token crosses to
// each other node that it visits once, over the NIC of its own rail, and is spread from there over NVLink.
// Combine is the same traffic backwards, which on full-duplex links loads as much.
#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "models/base/error.hpp"
#include "sim/collective/settings.hpp"

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
void check_even(const std::vector<NodeMembers>& nodes) {
  for (const NodeMembers& node : nodes) {
    if (node.ranks.size() == nodes.front().ranks.size()) continue;
    throw InputError(
        "collectives",
        fmt::format("'hierarchical' needs as many ranks of an expert group on each of its nodes, "
                    "but has {} and {} (pairwise takes any group)",
                    nodes.front().ranks.size(), node.ranks.size()));
  }
}

class Hierarchical final : public Collective {
 public:
  Hierarchical(const CollectiveSettings& settings, double nvlink_efficiency)
      : settings_(settings), nvlink_efficiency_(nvlink_efficiency) {}

  bool has_own_buffers() const override { return true; }

  Traffic plan(const Request& request, const Fabric& fabric) const override {
    if (request.operation != Operation::all_to_all) refuse("hierarchical", request.operation, "all_to_all");
    Traffic traffic{.flows = {},
                    .latency = settings_.startup,
                    .efficiency = settings_.efficiency,
                    .nvlink_efficiency = nvlink_efficiency_,
                    .messages = 0};
    traffic.latency += longest_latency(request.group, fabric);
    const std::vector<NodeMembers> nodes = by_node(request.group, fabric);
    check_even(nodes);
    traffic.flows.reserve(request.group.size() * request.group.size());
    for (const NodeMembers& source : nodes) {
      for (std::size_t i = 0; i < source.ranks.size(); ++i) {
        for (const NodeMembers& target : nodes) {
          const std::size_t entry =
              source.node == target.node ? source.ranks[i] : target.ranks[i % target.ranks.size()];
          send(source.ranks[i], entry, target, request, traffic);
        }
      }
    }
    traffic.messages = static_cast<std::int64_t>(traffic.flows.size());
    return traffic;
  }

 private:
  /// What one rank sends to the members of one node: over its rail to `entry`, the member there, which passes
  /// it on.
  static void send(std::size_t from, std::size_t entry, const NodeMembers& target, const Request& request,
                   Traffic& traffic) {
    const auto row = static_cast<double>(request.bytes.count);
    const std::span<const DeviceId> group = request.group;
    if (from != entry) {
      traffic.flows.push_back({group[from], group[entry], rows_to_node(request, from, target) * row});
    }
    for (const std::size_t to : target.ranks) {
      if (to == entry) continue;
      traffic.flows.push_back({group[entry], group[to], rows_between(request, from, to, true) * row});
    }
  }

  static double rows_to_node(const Request& request, std::size_t from, const NodeMembers& target) {
    if (request.rows.empty()) return request.reached_rows_per_node;
    double rows = 0;
    for (const std::size_t to : target.ranks) rows += rows_between(request, from, to, false);
    const double even = request.rows_per_rank * static_cast<double>(target.ranks.size());
    return std::min(request.tokens, rows * (request.reached_rows_per_node / even));
  }

  CollectiveSettings settings_;
  double nvlink_efficiency_;
};

std::unique_ptr<const Collective> make(Reader& reader) {
  const CollectiveSettings settings = read_collective_settings(reader, {});
  const double nvlink_efficiency =
      reader.number({.name = "nvlink_efficiency",
                     .help = "share of NVLink's rate that kernels reach which send or pass on inside a node; "
                             "0: efficiency",
                     .fallback = 0.0,
                     .at_least = 0.0,
                     .at_most = 1.0});
  return std::make_unique<Hierarchical>(settings, nvlink_efficiency);
}

}  // namespace

extern constexpr Entry<Collective> hierarchical_collective{
    "hierarchical", "tokens cross to each node once, then spread over NVLink, as DeepEP does (all_to_all)",
    make};

}  // namespace moesim
