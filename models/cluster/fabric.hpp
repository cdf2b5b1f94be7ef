// The fabric: devices, links, and the way from one device to another. It carries no traffic of its own.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "models/base/units.hpp"

namespace moesim {

using DeviceId = std::uint32_t;
using LinkId = std::uint32_t;

/// What a link is. Names are those of the report.
enum class LinkClass : std::uint8_t {
  nvlink,
  pcie,
  infiniband,  ///< NIC to its first switch
  leaf_spine,
  spine_core,
  ici,       ///< chip to neighbouring chip of a torus
  on_chip,   ///< core to the links of its chip
  ethernet,  ///< NIC to its switch
  local,     ///< router to router of a dragonfly's group
  global,    ///< group to group of a dragonfly
};
inline constexpr std::size_t link_class_count = 10;
inline constexpr std::array<std::string_view, link_class_count> link_class_names{
    "nvlink", "pcie",    "infiniband", "leaf_spine", "spine_core",
    "ici",    "on_chip", "ethernet",   "local",      "global"};

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
  std::vector<std::uint32_t> grid = {};  ///< nodes along each dimension, the last one fastest in the
                                         ///< numbering of nodes; empty where nodes form no grid
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
  /// Over how many ways of equal length traffic from one device to another spreads evenly; at least 1.
  virtual std::uint32_t ways(const Wiring& wiring, DeviceId from, DeviceId to) const;
  /// Appends the links of one of them, 0 to ways - 1. Way 0 is route().
  virtual void route_way(const Wiring& wiring, DeviceId from, DeviceId to, std::uint32_t way,
                         std::vector<LinkId>& links) const;
  /// Adds to `load`, one entry a link, what `bytes` from each member of a group to each other put on the
  /// links, and returns true. Returns false and adds nothing where it knows nothing quicker than way by way.
  virtual bool add_all_to_all(const Wiring& wiring, std::span<const DeviceId> group, double bytes,
                              std::span<double> load) const;
};

/// A wired topology. Immutable; safe to share.
class Fabric {
 public:
  Fabric(std::unique_ptr<const Topology> topology, std::uint32_t devices);
  Fabric(const Fabric&);
  Fabric& operator=(const Fabric&);
  Fabric(Fabric&&) noexcept;
  Fabric& operator=(Fabric&&) noexcept;
  ~Fabric();

  std::uint32_t device_count() const { return wiring_.devices; }
  std::uint32_t devices_per_node() const { return wiring_.devices_per_node; }
  std::uint32_t node_of(DeviceId device) const { return device / wiring_.devices_per_node; }
  std::span<const Link> links() const { return wiring_.links; }
  std::span<const Vertex> vertices() const { return wiring_.vertices; }
  const Link& link(LinkId id) const { return wiring_.links[id]; }

  /// Nodes along each dimension where they form a grid, the last one fastest; else empty.
  std::span<const std::uint32_t> grid() const { return wiring_.grid; }

  /// Appends the links from one device to another, in order; nothing for a device to itself.
  void route(DeviceId from, DeviceId to, std::vector<LinkId>& links, std::uint32_t way = 0) const;
  /// Over how many ways of equal length traffic from one device to another spreads evenly; at least 1.
  std::uint32_t ways(DeviceId from, DeviceId to) const;
  /// As Topology::add_all_to_all.
  bool add_all_to_all(std::span<const DeviceId> group, double bytes, std::span<double> load) const;
  /// Sum of the latencies of the links between two devices.
  Time latency(DeviceId from, DeviceId to) const;
  /// The most that the lower half of the devices can send to the upper half at once (max-flow min-cut).
  Rate bisection_bandwidth() const;
  /// Whether every device reaches every other over links.
  bool is_connected() const;
  /// The vertex of that name, if there is one.
  std::optional<std::uint32_t> find_vertex(std::string_view name) const;
  /// The links from one vertex to another, in rising order.
  std::vector<LinkId> links_between(std::uint32_t from, std::uint32_t to) const;
  /// Leaves a link that share of its rate, above 0 and at most 1.
  void degrade(LinkId link, double rate_left);
  /// Takes a link out: ways around it are found from now on. A way that the topology would take stays as it
  /// is where none of its links is down; where several are equal, traffic spreads over those that are left;
  /// where none is, it takes the shortest of all others, of equals the first. Routes throw RunError where
  /// there is none.
  void take_down(LinkId link);
  /// The fabric in Graphviz' language.
  std::string dot() const;

 private:
  bool is_up(std::span<const LinkId> links) const;
  void ways_left(DeviceId from, DeviceId to, std::vector<std::uint32_t>& ways) const;
  void route_around(DeviceId from, DeviceId to, std::vector<LinkId>& links) const;

  std::shared_ptr<const Topology> topology_;
  Wiring wiring_;
  std::vector<bool> down_;  // by link; empty where all are up
};

/// Nodes that a group of devices lies on.
std::int64_t nodes_of(std::span<const DeviceId> group, const Fabric& fabric);

}  // namespace moesim
