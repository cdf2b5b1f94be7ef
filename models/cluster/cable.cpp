#include "models/cluster/cable.hpp"

#include <fmt/format.h>

namespace moesim {

Cable cable_of(LinkClass link_class, Rate rate, Time latency) {
  const Time up = latency / 2;
  return {.link_class = link_class, .rate = rate, .up = up, .down = latency - up};
}

LinkId lay(Wiring& wiring, const Cable& cable, std::uint32_t lower, std::uint32_t upper) {
  const auto first = static_cast<LinkId>(wiring.links.size());
  wiring.links.push_back(
      {.from = lower, .to = upper, .link_class = cable.link_class, .rate = cable.rate, .latency = cable.up});
  wiring.links.push_back({.from = upper,
                          .to = lower,
                          .link_class = cable.link_class,
                          .rate = cable.rate,
                          .latency = cable.down});
  return first;
}

Cable read_nvlink(Reader& reader) {
  const Rate rate =
      reader.rate({.name = "nvlink_rate", .help = "NVLink of one device, per direction, data sheet"});
  const double efficiency = reader.number({.name = "nvlink_efficiency",
                                           .help = "share of nvlink_rate that traffic reaches",
                                           .fallback = 1.0,
                                           .at_least = 0.01,
                                           .at_most = 1.0});
  // 3.33 us: Insights into DeepSeek-V3 (arXiv 2505.09343), table 5, 64 bytes end to end on H800.
  const Time latency = reader.time({.name = "nvlink_latency",
                                    .help = "from device to device of one node, end to end",
                                    .fallback = Time{3'330'000}});
  return cable_of(LinkClass::nvlink, rate * efficiency, latency);
}

Cable read_nic(Reader& reader, LinkClass link_class, Time usual_latency) {
  const Rate rate = reader.rate({.name = "nic_rate", .help = "of one NIC, per direction, data sheet"});
  const double efficiency = reader.number({.name = "nic_efficiency",
                                           .help = "share of nic_rate that traffic reaches",
                                           .fallback = 1.0,
                                           .at_least = 0.01,
                                           .at_most = 1.0});
  const Time latency = reader.time({.name = "nic_latency",
                                    .help = "from device to device under one leaf switch, end to end",
                                    .fallback = usual_latency});
  return cable_of(link_class, rate * efficiency, latency);
}

std::uint32_t read_count(Reader& reader, std::string_view name, std::string_view help,
                         std::int64_t fallback) {
  return static_cast<std::uint32_t>(
      reader.integer({.name = name, .help = help, .fallback = fallback, .at_least = 1, .at_most = 65'536}));
}

double read_taper(Reader& reader, std::string_view name, std::string_view help) {
  return reader.number({.name = name, .help = help, .fallback = 1.0, .at_least = 0.1, .at_most = 100.0});
}

Wiring wire_nodes(std::uint32_t devices, std::uint32_t devices_per_node, const Cable& nvlink) {
  Wiring wiring{.devices = devices, .devices_per_node = devices_per_node, .vertices = {}, .links = {}};
  const std::uint32_t nodes = devices / devices_per_node;
  wiring.vertices.reserve(devices + nodes);
  for (std::uint32_t device = 0; device < devices; ++device) {
    wiring.vertices.push_back({.name = fmt::format("gpu {}", device), .node = device / devices_per_node});
  }
  for (std::uint32_t node = 0; node < nodes; ++node) {
    wiring.vertices.push_back({.name = fmt::format("node {} nvswitch", node), .node = node});
  }
  wiring.links.reserve(4 * static_cast<std::size_t>(devices));
  for (std::uint32_t device = 0; device < devices; ++device) {
    lay(wiring, nvlink, device, devices + device / devices_per_node);
  }
  return wiring;
}

}  // namespace moesim
