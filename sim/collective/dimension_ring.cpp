// Rings along each dimension of a torus in turn, as TPU pods reduce gradients (Ying et al., Image
// Classification at Supercomputer Scale, arXiv 1811.06992; Kumar et al., arXiv 2011.03641): the
// buffer is reduced and scattered along one dimension, what is left of it along the next, and gathered the
// other way round. Each ring passes half of its shards either way. Of D dimensions, D equal parts of the
// buffer begin with another one each, so that all links are busy all the time. Devices of one node (the cores
// of a chip) come first and last. On a fabric without a grid the nodes are one dimension.
#include <algorithm>
#include <vector>

#include "sim/collective/settings.hpp"

namespace moesim {
namespace {

/// The members as a box: `extents` along each dimension, the last one fastest in `devices`. The last
/// dimension is the inside of a node.
struct Box {
  std::vector<DeviceId> devices;
  std::vector<std::size_t> extents;
};

/// How many different coordinates the members have along a dimension of `extent`, `stride` apart.
std::size_t distinct(const std::vector<DeviceId>& devices, std::uint32_t stride, std::uint32_t extent) {
  std::vector<bool> seen(extent, false);
  for (const DeviceId device : devices) seen[device / stride % extent] = true;
  return static_cast<std::size_t>(std::count(seen.begin(), seen.end(), true));
}

/// In the order of their numbers the members of a box are in the order of its coordinates. What is no box
/// (not all combinations of its members' coordinates) is one ring over all.
Box box_of(std::span<const DeviceId> group, const Fabric& fabric) {
  Box box{.devices = {group.begin(), group.end()}, .extents = {}};
  std::sort(box.devices.begin(), box.devices.end());
  const std::uint32_t inside = fabric.devices_per_node();
  std::vector<std::uint32_t> grid(fabric.grid().begin(), fabric.grid().end());
  if (grid.empty()) grid = {fabric.device_count() / inside};
  std::uint32_t stride = fabric.device_count();
  std::size_t places = 1;
  for (const std::uint32_t extent : grid) {
    stride /= extent;
    box.extents.push_back(distinct(box.devices, stride, extent));
    places *= box.extents.back();
  }
  box.extents.push_back(distinct(box.devices, 1, inside));
  places *= box.extents.back();
  if (places != box.devices.size()) box.extents = {box.devices.size(), 1};
  return box;
}

class DimensionRing final : public Collective {
 public:
  explicit DimensionRing(const CollectiveSettings& settings) : settings_(settings) {}

  Traffic plan(const Request& request, const Fabric& fabric) const override {
    const bool reduces = request.operation == Operation::all_reduce;
    if (!reduces && request.operation != Operation::reduce_scatter &&
        request.operation != Operation::all_gather) {
      refuse("dimension_ring", request.operation, "all_reduce, reduce_scatter and all_gather");
    }
    const Box box = box_of(request.group, fabric);
    const std::vector<double> buffers = buffers_of(box, static_cast<double>(request.bytes.count));
    Traffic traffic{.flows = {}, .latency = Time{}, .efficiency = settings_.efficiency, .messages = 0};
    std::size_t stride = box.devices.size();
    for (std::size_t d = 0; d < box.extents.size(); ++d) {
      stride /= box.extents[d];
      if (box.extents[d] > 1) add_rings(box, d, stride, buffers[d], fabric, traffic);
    }
    if (reduces) {  // the gather sends what the scatter sent, the other way
      for (Flow& flow : traffic.flows) flow.bytes *= 2;
      traffic.latency = traffic.latency * 2;
      traffic.messages *= 2;
    }
    traffic.latency += settings_.startup;
    return traffic;
  }

 private:
  /// Bytes that the rings along each dimension scatter among their members.
  static std::vector<double> buffers_of(const Box& box, double bytes) {
    std::vector<double> buffers(box.extents.size());
    buffers.back() = bytes;
    std::vector<std::size_t> between;
    for (std::size_t d = 0; d + 1 < box.extents.size(); ++d) {
      if (box.extents[d] > 1) between.push_back(d);
    }
    for (std::size_t first = 0; first < between.size(); ++first) {
      double part = bytes / static_cast<double>(box.extents.back() * between.size());
      for (std::size_t i = 0; i < between.size(); ++i) {
        const std::size_t d = between[(first + i) % between.size()];
        buffers[d] += part;
        part /= static_cast<double>(box.extents[d]);
      }
    }
    return buffers;
  }

  /// The rings along one dimension, whose members are `stride` apart among the devices of the box.
  static void add_rings(const Box& box, std::size_t d, std::size_t stride, double buffer,
                        const Fabric& fabric, Traffic& traffic) {
    const std::size_t extent = box.extents[d];
    const double each_way = buffer * static_cast<double>(extent - 1) / static_cast<double>(extent) / 2;
    for (std::size_t i = 0; i < box.devices.size(); ++i) {
      const std::size_t at = i / stride % extent;
      const std::size_t next = at + 1 < extent ? i + stride : i - (extent - 1) * stride;
      traffic.flows.push_back({box.devices[i], box.devices[next], each_way});
      traffic.flows.push_back({box.devices[next], box.devices[i], each_way});
    }
    traffic.messages += static_cast<std::int64_t>(box.devices.size() * (extent - 1));
    traffic.latency += half_way_round(box, stride, extent, fabric);
  }

  /// A shard goes half way round: the slowest such half of the first ring.
  static Time half_way_round(const Box& box, std::size_t stride, std::size_t extent, const Fabric& fabric) {
    std::vector<Time> hops;
    for (std::size_t i = 0; i < extent; ++i)
      hops.push_back(fabric.latency(box.devices[i * stride], box.devices[(i + 1) % extent * stride]));
    Time longest;
    Time window;
    for (std::size_t i = 0; i < extent / 2; ++i) window += hops[i];
    for (std::size_t i = 0; i < extent; ++i) {
      longest = std::max(longest, window);
      window = window - hops[i] + hops[(i + extent / 2) % extent];
    }
    return longest;
  }

  CollectiveSettings settings_;
};

std::unique_ptr<const Collective> make(Reader& reader) {
  return std::make_unique<DimensionRing>(read_collective_settings(reader, {}));
}

}  // namespace

extern constexpr Entry<Collective> dimension_ring_collective{
    "dimension_ring",
    "rings both ways along each dimension of a torus in turn (all_reduce, reduce_scatter, all_gather)", make};

}  // namespace moesim
