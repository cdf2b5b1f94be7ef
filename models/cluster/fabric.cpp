#include "models/cluster/fabric.hpp"

#include "models/base/error.hpp"

namespace moesim {

std::uint32_t Topology::ways(const Wiring&, DeviceId, DeviceId) const { return 1; }

void Topology::route_way(const Wiring& wiring, DeviceId from, DeviceId to, std::uint32_t,
                         std::vector<LinkId>& links) const {
  route(wiring, from, to, links);
}

bool Topology::add_all_to_all(const Wiring&, std::span<const DeviceId>, double, std::span<double>) const {
  return false;
}

Fabric::Fabric(std::unique_ptr<const Topology> topology, std::uint32_t devices)
    : topology_(std::move(topology)), wiring_(topology_->wire(devices)) {
  ensure(wiring_.devices == devices && wiring_.vertices.size() >= devices,
         "a wiring has the devices asked for");
  ensure(wiring_.devices_per_node > 0, "a node has a device");
  std::uint64_t places = 1;
  for (const std::uint32_t extent : wiring_.grid) places *= extent;
  ensure(wiring_.grid.empty() || places == devices / wiring_.devices_per_node, "a grid holds the nodes");
  for (const Link& link : wiring_.links) {
    ensure(link.from < wiring_.vertices.size() && link.to < wiring_.vertices.size(),
           "a link joins two vertices");
    ensure(link.rate.count > 0 && link.latency.count >= 0, "a link has a rate above zero and a latency");
  }
}

Fabric::Fabric(Fabric&&) noexcept = default;
Fabric& Fabric::operator=(Fabric&&) noexcept = default;
Fabric::~Fabric() = default;

void Fabric::route(DeviceId from, DeviceId to, std::vector<LinkId>& links, std::uint32_t way) const {
  topology_->route_way(wiring_, from, to, way, links);
}

std::uint32_t Fabric::ways(DeviceId from, DeviceId to) const { return topology_->ways(wiring_, from, to); }

bool Fabric::add_all_to_all(std::span<const DeviceId> group, double bytes, std::span<double> load) const {
  ensure(load.size() == wiring_.links.size(), "a load has one entry a link");
  return topology_->add_all_to_all(wiring_, group, bytes, load);
}

Time Fabric::latency(DeviceId from, DeviceId to) const {
  std::vector<LinkId> links;
  route(from, to, links);
  Time sum;
  for (const LinkId id : links) sum += link(id).latency;
  return sum;
}

}  // namespace moesim
