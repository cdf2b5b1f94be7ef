// Double binary trees (Sanders, Speck and Traeff, Two-tree algorithms, Parallel Computing 2009; NCCL's
// "tree"): two trees over the nodes, a rank that is inner in one is a leaf in the other, each carries half of
// the buffer up and down again; inside a node members form a chain. The latency grows with the logarithm of
// the number of nodes.
#include <algorithm>
#include <vector>

#include "models/base/error.hpp"
#include "sim/collective/settings.hpp"

namespace moesim {
namespace {

std::vector<std::vector<DeviceId>> node_chains(std::span<const DeviceId> group, const Fabric& fabric) {
  std::vector<DeviceId> ordered(group.begin(), group.end());
  std::stable_sort(ordered.begin(), ordered.end(),
                   [&](DeviceId a, DeviceId b) { return fabric.node_of(a) < fabric.node_of(b); });
  std::vector<std::vector<DeviceId>> chains;
  for (const DeviceId device : ordered) {
    if (chains.empty() || fabric.node_of(chains.back().front()) != fabric.node_of(device))
      chains.emplace_back();
    chains.back().push_back(device);
  }
  return chains;
}

/// The parent of rank i of n in the first tree (in-order binary tree); the root is its own parent.
std::size_t parent_of(std::size_t i, std::size_t n) {
  std::size_t bit = 1;
  while (bit < n && (i & bit) == 0) bit <<= 1;
  if (i == 0 || bit >= n) return i == 0 ? i : 0;
  const std::size_t up = (i ^ bit) | (bit << 1);
  return up >= n ? i ^ bit : up;
}

class Tree final : public Collective {
 public:
  explicit Tree(const CollectiveSettings& settings) : settings_(settings) {}

  Traffic plan(const Request& request, const Fabric& fabric) const override {
    if (request.operation != Operation::all_reduce) refuse("tree", request.operation, "all_reduce");
    const std::vector<std::vector<DeviceId>> chains = node_chains(request.group, fabric);
    const std::size_t nodes = chains.size();
    const std::size_t width = chains.front().size();
    Traffic traffic{
        .flows = {}, .latency = settings_.startup, .efficiency = settings_.efficiency, .messages = 0};
    // One pair of trees a member of a node: each leaves through another NIC and carries its share of the
    // buffer.
    const double share = static_cast<double>(request.bytes.count) / static_cast<double>(width);
    for (std::size_t channel = 0; channel < width; ++channel) {
      for (const std::vector<DeviceId>& chain : chains) add_chain(chain, channel, share, traffic);
      for (const bool mirrored : {false, true}) add_tree(chains, channel, mirrored, share / 2, traffic);
    }
    traffic.latency += 2 * depth_latency(chains, nodes, fabric);
    traffic.messages = static_cast<std::int64_t>(traffic.flows.size());
    return traffic;
  }

 private:
  static void both_ways(DeviceId a, DeviceId b, double bytes, Traffic& traffic) {
    traffic.flows.push_back({a, b, bytes});
    traffic.flows.push_back({b, a, bytes});
  }
  static void add_chain(const std::vector<DeviceId>& chain, std::size_t channel, double bytes,
                        Traffic& traffic) {
    for (std::size_t i = 0; i + 1 < chain.size(); ++i) {
      both_ways(chain[(channel + i) % chain.size()], chain[(channel + i + 1) % chain.size()], bytes, traffic);
    }
  }
  static void add_tree(const std::vector<std::vector<DeviceId>>& chains, std::size_t channel, bool mirrored,
                       double bytes, Traffic& traffic) {
    const std::size_t n = chains.size();
    const auto head = [&](std::size_t i) {
      const std::vector<DeviceId>& chain = chains[mirrored ? n - 1 - i : i];
      return chain[channel % chain.size()];
    };
    for (std::size_t i = 1; i < n; ++i) both_ways(head(i), head(parent_of(i, n)), bytes, traffic);
  }
  static Time depth_latency(const std::vector<std::vector<DeviceId>>& chains, std::size_t nodes,
                            const Fabric& fabric) {
    Time inside;
    for (std::size_t i = 0; i + 1 < chains.front().size(); ++i) {
      inside += fabric.latency(chains.front()[i], chains.front()[i + 1]);
    }
    std::int64_t depth = 0;
    while ((std::size_t{1} << depth) < nodes) ++depth;
    return inside + depth * fabric.latency(chains.front().front(), chains.back().front());
  }

  CollectiveSettings settings_;
};

std::unique_ptr<const Collective> make(Reader& reader) {
  return std::make_unique<Tree>(read_collective_settings(reader, {}));
}

}  // namespace

extern constexpr Entry<Collective> tree_collective{
    "tree",
    "double binary trees over the nodes, chains inside: latency grows with the logarithm (all_reduce)", make};

}  // namespace moesim
