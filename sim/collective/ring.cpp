// Rings (Patarasuk and Yuan, Bandwidth optimal all-reduce algorithms, JPDC 2009): each rank passes shards to
// the next. An all-reduce is 2(n-1) rounds of 1/n of the buffer, a reduce-scatter or all-gather n-1. Several
// rings run side by side, one for each member on a node, and leave the node through another NIC each, as
// NCCL's channels do.
#include "sim/collective/ring.hpp"

#include <algorithm>

#include "sim/collective/settings.hpp"

namespace moesim {
namespace {

/// The members node by node, so that a ring leaves each node once.
std::vector<DeviceId> grouped_by_node(std::span<const DeviceId> group, const Fabric& fabric) {
  std::vector<DeviceId> ordered(group.begin(), group.end());
  std::stable_sort(ordered.begin(), ordered.end(),
                   [&](DeviceId a, DeviceId b) { return fabric.node_of(a) < fabric.node_of(b); });
  return ordered;
}

/// The members of one ring: those of each node in turn, beginning with its `channel`-th.
std::vector<DeviceId> ring_order(const std::vector<DeviceId>& ordered, std::size_t channel,
                                 const Fabric& fabric) {
  std::vector<DeviceId> ring = ordered;
  for (std::size_t begin = 0; begin < ring.size();) {
    std::size_t end = begin + 1;
    while (end < ring.size() && fabric.node_of(ring[end]) == fabric.node_of(ring[begin])) ++end;
    const auto first = ring.begin() + static_cast<std::ptrdiff_t>(begin);
    const std::size_t shift = channel % (end - begin);
    std::rotate(first, first + static_cast<std::ptrdiff_t>(shift),
                ring.begin() + static_cast<std::ptrdiff_t>(end));
    begin = end;
  }
  return ring;
}

std::size_t members_on_first_node(const std::vector<DeviceId>& ordered, const Fabric& fabric) {
  const auto elsewhere = [&](DeviceId d) { return fabric.node_of(d) != fabric.node_of(ordered.front()); };
  return static_cast<std::size_t>(std::find_if(ordered.begin(), ordered.end(), elsewhere) - ordered.begin());
}

}  // namespace

std::vector<Flow> ring_flows(std::span<const DeviceId> group, double bytes, const Fabric& fabric) {
  const std::vector<DeviceId> ordered = grouped_by_node(group, fabric);
  const std::size_t channels = members_on_first_node(ordered, fabric);
  std::vector<Flow> flows;
  for (std::size_t channel = 0; channel < channels; ++channel) {
    const std::vector<DeviceId> ring = ring_order(ordered, channel, fabric);
    for (std::size_t i = 0; i < ring.size(); ++i) {
      flows.push_back({ring[i], ring[(i + 1) % ring.size()], bytes / static_cast<double>(channels)});
    }
  }
  return flows;
}

namespace {

class Ring final : public Collective {
 public:
  explicit Ring(const CollectiveSettings& settings) : settings_(settings) {}

  Traffic plan(const Request& request, const Fabric& fabric) const override {
    const double n = static_cast<double>(request.group.size());
    double rounds = n - 1;
    if (request.operation == Operation::all_reduce) {
      rounds = 2 * (n - 1);
    } else if (request.operation != Operation::reduce_scatter && request.operation != Operation::all_gather) {
      refuse("ring", request.operation, "all_reduce, reduce_scatter and all_gather");
    }
    const double bytes = rounds * static_cast<double>(request.bytes.count) / n;
    Traffic traffic{.flows = ring_flows(request.group, bytes, fabric),
                    .latency = settings_.startup,
                    .efficiency = settings_.efficiency,
                    .messages = 0};
    traffic.latency += round_latency(traffic.flows, request.group.size(), fabric) *
                       static_cast<std::int64_t>(rounds / (n - 1));
    traffic.messages = static_cast<std::int64_t>(traffic.flows.size() * static_cast<std::size_t>(rounds));
    return traffic;
  }

 private:
  /// Once around the ring less one hop: the sum of its hops' latencies.
  static Time round_latency(const std::vector<Flow>& flows, std::size_t size, const Fabric& fabric) {
    Time around;
    Time longest;
    for (std::size_t i = 0; i < size; ++i) {
      const Time hop = fabric.latency(flows[i].from, flows[i].to);
      around += hop;
      longest = std::max(longest, hop);
    }
    return around - longest;
  }

  CollectiveSettings settings_;
};

std::unique_ptr<const Collective> make(Reader& reader) {
  return std::make_unique<Ring>(read_collective_settings(reader, {}));
}

}  // namespace

extern constexpr Entry<Collective> ring_collective{
    "ring", "rings over all members, one through each NIC of a node (all_reduce, reduce_scatter, all_gather)",
    make};

}  // namespace moesim
