// The fabric: devices, links, and the way from one device to another. It carries no traffic of its own.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "models/base/units.hpp"

namespace moesim {

using DeviceId = std::uint32_t;
using LinkId = std::uint32_t;

/// What a link is. Names are those of the report.
enum class LinkClass : std::uint8_t { nvlink, pcie, infiniband, leaf_spine, spine_core };
inline constexpr std::size_t link_class_count = 5;
inline constexpr std::array<std::string_view, link_class_count> link_class_names{
    "nvlink", "pcie", "infiniband", "leaf_spine", "spine_core"};

/// One direction of a cable, or of a bundle of parallel cables over which traffic spreads evenly.
struct Link {
  std::uint32_t from = 0;  ///< vertex
  std::uint32_t to = 0;    ///< vertex
  LinkClass link_class = LinkClass::nvlink;
  Rate rate;  ///< what traffic reaches on it, protocol included
  Time latency;
};

/// The node of a vertex that no node holds, as a leaf switch.
inline constexpr std::uint32_t no_node = 0xffffffff;

/// A vertex of the fabric: devices come first, numbered as DeviceId; then switches.
struct Vertex {
  std::string name;              ///< "gpu 17", "node 2 nvswitch", "rail 3 leaf 0"
  std::uint32_t node = no_node;  ///< the node that holds it
};

/// What a topology builds: vertices and directed links. Device d is vertex d.
struct Wiring {
  std::uint32_t devices = 0;
  std::uint32_t devices_per_node = 1;
  std::vector<Vertex> vertices;
  std::vector<Link> links;
};

/// How a topology wires devices and how it routes. A family.
class Topology {
 public:
  virtual ~Topology() = default;
  /// Builds the links of `devices` devices. Throws InputError where the count does not fit; its message is
  /// what is wrong with the count ("is 12, which is no multiple of devices_per_node 8"), the caller knows
  /// where it stands.
  virtual Wiring wire(std::uint32_t devices) const = 0;
  /// Appends the links from one device to another, in order; nothing for a device to itself. `wiring` is what
  /// wire() built.
  virtual void route(const Wiring& wiring, DeviceId from, DeviceId to, std::vector<LinkId>& links) const = 0;
};

/// A wired topology. Immutable; safe to share.
class Fabric {
 public:
  Fabric(std::unique_ptr<const Topology> topology, std::uint32_t devices);
  Fabric(Fabric&&) noexcept;
  Fabric& operator=(Fabric&&) noexcept;
  ~Fabric();

  std::uint32_t device_count() const { return wiring_.devices; }
  std::uint32_t devices_per_node() const { return wiring_.devices_per_node; }
  std::uint32_t node_of(DeviceId device) const { return device / wiring_.devices_per_node; }
  std::span<const Link> links() const { return wiring_.links; }
  std::span<const Vertex> vertices() const { return wiring_.vertices; }
  const Link& link(LinkId id) const { return wiring_.links[id]; }

  /// Appends the links from one device to another, in order; nothing for a device to itself.
  void route(DeviceId from, DeviceId to, std::vector<LinkId>& links) const;
  /// Sum of the latencies of the links between two devices.
  Time latency(DeviceId from, DeviceId to) const;
  /// The most that the lower half of the devices can send to the upper half at once (max-flow min-cut).
  Rate bisection_bandwidth() const;
  /// Whether every device reaches every other over links.
  bool is_connected() const;
  /// The fabric in Graphviz' language.
  std::string dot() const;

 private:
  std::unique_ptr<const Topology> topology_;
  Wiring wiring_;
};

}  // namespace moesim
