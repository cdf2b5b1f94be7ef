// One NVSwitch domain of any size: a DGX node alone (8), or an NVL72 rack (72).
#include "models/cluster/cable.hpp"
#include "models/config/family.hpp"

namespace moesim {
namespace {

class NvSwitch final : public Topology {
 public:
  explicit NvSwitch(const Cable& nvlink) : nvlink_(nvlink) {}

  Wiring wire(std::uint32_t devices) const override { return wire_nodes(devices, devices, nvlink_); }

  void route(const Wiring&, DeviceId from, DeviceId to, std::vector<LinkId>& links) const override {
    if (from != to) route_in_node(from, to, links);
  }

 private:
  Cable nvlink_;
};

std::unique_ptr<const Topology> make(Reader& reader) {
  return std::make_unique<NvSwitch>(read_nvlink(reader));
}

}  // namespace

extern constexpr Entry<Topology> nvswitch_topology{
    .name = "nvswitch",
    .sentence = "all devices on one NVSwitch: a node alone, or an NVL72 rack",
    .make = make};

}  // namespace moesim
