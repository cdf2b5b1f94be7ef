// All-to-all in two steps that run as one (DeepSeek-V3, arXiv 2412.19437, section 3.2.2): a token crosses to
// each other node that it visits once, over the NIC of its own rail, and is spread from there over NVLink.
// Combine is the same traffic backwards, which on full-duplex links loads as much.
#include <fmt/format.h>

#include <vector>

#include "models/base/error.hpp"
#include "sim/collective/settings.hpp"

namespace moesim {
namespace {

/// The members of the group on one node.
struct NodeMembers {
  std::uint32_t node = 0;
  std::vector<DeviceId> devices;
};

std::vector<NodeMembers> by_node(std::span<const DeviceId> group, const Fabric& fabric) {
  std::vector<NodeMembers> nodes;
  for (const DeviceId device : group) {
    const std::uint32_t node = fabric.node_of(device);
    std::size_t at = 0;
    while (at < nodes.size() && nodes[at].node != node) ++at;
    if (at == nodes.size()) nodes.push_back({node, {}});
    nodes[at].devices.push_back(device);
  }
  return nodes;
}

/// Rows for a node are spread over its members evenly: with fewer on one node, that would be wrong.
void check_even(const std::vector<NodeMembers>& nodes) {
  for (const NodeMembers& node : nodes) {
    if (node.devices.size() == nodes.front().devices.size()) continue;
    throw InputError(
        "collectives",
        fmt::format("'hierarchical' needs as many ranks of an expert group on each of its nodes, "
                    "but has {} and {} (pairwise takes any group)",
                    nodes.front().devices.size(), node.devices.size()));
  }
}

class Hierarchical final : public Collective {
 public:
  explicit Hierarchical(const CollectiveSettings& settings) : settings_(settings) {}

  Traffic plan(const Request& request, const Fabric& fabric) const override {
    if (request.operation != Operation::all_to_all) refuse("hierarchical", request.operation, "all_to_all");
    Traffic traffic{
        .flows = {}, .latency = settings_.startup, .efficiency = settings_.efficiency, .messages = 0};
    traffic.latency += longest_latency(request.group, fabric);
    const double row = static_cast<double>(request.bytes.count);
    const std::vector<NodeMembers> nodes = by_node(request.group, fabric);
    check_even(nodes);
    for (const NodeMembers& source : nodes) {
      for (std::size_t i = 0; i < source.devices.size(); ++i) {
        for (const NodeMembers& target : nodes) {
          send(source.devices[i], i, target, source.node == target.node, request, row, traffic);
        }
      }
    }
    traffic.messages = static_cast<std::int64_t>(traffic.flows.size());
    return traffic;
  }

 private:
  /// What one device sends to the members of one node: over its rail to the member there, which passes it on.
  static void send(DeviceId from, std::size_t rail, const NodeMembers& target, bool own_node,
                   const Request& request, double row, Traffic& traffic) {
    const DeviceId entry = own_node ? from : target.devices[rail % target.devices.size()];
    if (!own_node) traffic.flows.push_back({from, entry, request.reached_rows_per_node * row});
    for (const DeviceId to : target.devices) {
      if (to != entry) traffic.flows.push_back({entry, to, request.reached_rows_per_rank * row});
    }
  }

  CollectiveSettings settings_;
};

std::unique_ptr<const Collective> make(Reader& reader) {
  return std::make_unique<Hierarchical>(read_collective_settings(reader, {}));
}

}  // namespace

extern constexpr Entry<Collective> hierarchical_collective{
    "hierarchical", "tokens cross to each node once, then spread over NVLink, as DeepEP does (all_to_all)",
    make};

}  // namespace moesim
