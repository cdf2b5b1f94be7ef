// Cables: what the members of the topology family wire with. A cable is two links, one in each direction.
#pragma once

#include <cstdint>
#include <vector>

#include "models/base/units.hpp"
#include "models/cluster/fabric.hpp"
#include "models/config/reader.hpp"

namespace moesim {

/// A cable, or a bundle of parallel ones, from the device's side up to the network's.
struct Cable {
  LinkClass link_class = LinkClass::nvlink;
  Rate rate;  ///< in each direction, what traffic reaches
  Time up;    ///< latency away from the device
  Time down;  ///< latency towards it
};

/// A cable whose way up and another's way down take `latency` together, to the picosecond.
Cable cable_of(LinkClass link_class, Rate rate, Time latency);

/// Adds the two links of a cable; returns the upward one, the downward one is next to it.
LinkId lay(Wiring& wiring, const Cable& cable, std::uint32_t lower, std::uint32_t upper);

/// Reads nvlink_rate, nvlink_efficiency and nvlink_latency: the cable of one device to its NVSwitch.
Cable read_nvlink(Reader& reader);

/// Reads nic_rate, nic_efficiency and nic_latency (with that default): the cable of one NIC to its switch.
Cable read_nic(Reader& reader, LinkClass link_class, Time usual_latency);

/// Reads a count that fits the fabric's numbers.
std::uint32_t read_count(Reader& reader, std::string_view name, std::string_view help, std::int64_t fallback);

/// Reads a taper: the capacity of a tier towards devices over that of its links to the tier above. 1 blocks
/// nothing, 2 leaves half.
double read_taper(Reader& reader, std::string_view name, std::string_view help);

/// A wiring that holds the devices, an NVSwitch a node, and a cable from each device to it: device d has the
/// links 2d (up) and 2d + 1 (down), node n the vertex devices + n. Expects nothing to be wired before.
Wiring wire_nodes(std::uint32_t devices, std::uint32_t devices_per_node, const Cable& nvlink);

/// Appends the way between two devices of one node as wire_nodes wired it.
inline void route_in_node(DeviceId from, DeviceId to, std::vector<LinkId>& links) {
  links.push_back(2 * from);
  links.push_back(2 * to + 1);
}

}  // namespace moesim
