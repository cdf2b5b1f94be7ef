#include "models/cluster/fabric.hpp"

#include "models/base/error.hpp"

namespace moesim {

Fabric::Fabric(std::unique_ptr<const Topology> topology, std::uint32_t devices)
    : topology_(std::move(topology)), wiring_(topology_->wire(devices)) {
  ensure(wiring_.devices == devices && wiring_.vertices.size() >= devices,
         "a wiring has the devices asked for");
  ensure(wiring_.devices_per_node > 0, "a node has a device");
  for (const Link& link : wiring_.links) {
    ensure(link.from < wiring_.vertices.size() && link.to < wiring_.vertices.size(),
           "a link joins two vertices");
    ensure(link.rate.count > 0 && link.latency.count >= 0, "a link has a rate above zero and a latency");
  }
}

Fabric::Fabric(Fabric&&) noexcept = default;
Fabric& Fabric::operator=(Fabric&&) noexcept = default;
Fabric::~Fabric() = default;

void Fabric::route(DeviceId from, DeviceId to, std::vector<LinkId>& links) const {
  topology_->route(wiring_, from, to, links);
}

Time Fabric::latency(DeviceId from, DeviceId to) const {
  std::vector<LinkId> links;
  route(from, to, links);
  Time sum;
  for (const LinkId id : links) sum += link(id).latency;
  return sum;
}

}  // namespace moesim
