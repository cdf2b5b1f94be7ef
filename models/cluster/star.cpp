// Hosts on one Ethernet switch, the plainest of clusters: the devices of a host hang on its PCI Express
// switch or NVSwitch and share one NIC.
#include <fmt/format.h>

#include "models/base/error.hpp"
#include "models/cluster/cable.hpp"
#include "models/config/family.hpp"

namespace moesim {
namespace {

class Star final : public Topology {
 public:
  Star(std::uint32_t devices_per_node, const Cable& inside, const Cable& nic)
      : devices_per_node_(devices_per_node), inside_(inside), nic_(nic) {}

  /// Device d has the links 2d and 2d + 1, host n the vertex devices + n and the two links after all
  /// devices'.
  Wiring wire(std::uint32_t devices) const override {
    if (devices % devices_per_node_ != 0) {
      throw InputError(
          "", fmt::format("is {}, which is no multiple of devices_per_node {}", devices, devices_per_node_));
    }
    const std::uint32_t nodes = devices / devices_per_node_;
    Wiring wiring = wire_nodes(devices, devices_per_node_, inside_);
    for (std::uint32_t node = 0; node < nodes; ++node)
      wiring.vertices[devices + node].name = fmt::format("host {}", node);
    wiring.vertices.push_back({.name = "switch"});
    for (std::uint32_t node = 0; node < nodes; ++node) lay(wiring, nic_, devices + node, devices + nodes);
    return wiring;
  }

  void route(const Wiring& wiring, DeviceId from, DeviceId to, std::vector<LinkId>& links) const override {
    if (from == to) return;
    links.push_back(2 * from);
    const std::uint32_t here = from / devices_per_node_;
    const std::uint32_t there = to / devices_per_node_;
    if (here != there) {
      links.push_back(2 * (wiring.devices + here));
      links.push_back(2 * (wiring.devices + there) + 1);
    }
    links.push_back(2 * to + 1);
  }

 private:
  std::uint32_t devices_per_node_;
  Cable inside_, nic_;
};

std::unique_ptr<const Topology> make(Reader& reader) {
  const std::uint32_t devices = read_count(reader, "devices_per_node", "devices of a host", 8);
  static constexpr std::string_view kinds[] = {"pcie", "nvlink"};
  const std::size_t kind = reader.choice(
      {.name = "inside", .help = "what joins the devices of a host and its NIC", .fallback = "pcie"}, kinds);
  // PCI Express 4.0 x16 at 80 % (as SimAI's A100_PCIE_BW has it).
  const Rate rate = reader.rate({.name = "inside_rate",
                                 .help = "of one device to its host, per direction, as traffic reaches it",
                                 .fallback = Rate{25.6e9}});
  // Measured on NVLink (as nvlink_latency); none is published for devices behind one PCI Express switch.
  const Time latency = reader.time({.name = "inside_latency",
                                    .help = "from device to device of one host, end to end; part of "
                                            "nic_latency on the way to another",
                                    .fallback = Time{3'330'000}});
  // RoCE, one leaf: Insights into DeepSeek-V3 (arXiv 2505.09343), table 5, 64 bytes end to end.
  Cable nic = read_nic(reader, LinkClass::ethernet, Time{3'600'000});
  const Time all = nic.up + nic.down;
  if (all < latency) {
    reader.fail("nic_latency", fmt::format("is {}, expected at least inside_latency {}, which is part of it",
                                           print(all), print(latency)));
  }
  nic = cable_of(LinkClass::ethernet, nic.rate, all - latency);
  return std::make_unique<Star>(
      devices, cable_of(kind == 0 ? LinkClass::pcie : LinkClass::nvlink, rate, latency), nic);
}

}  // namespace

extern constexpr Entry<Topology> star_topology{
    .name = "star", .sentence = "hosts with one Ethernet NIC each on one switch", .make = make};

}  // namespace moesim
