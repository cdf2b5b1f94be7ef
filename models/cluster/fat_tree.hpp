// Nodes of NVSwitch-joined devices on a tree of InfiniBand switches, one leaf per rail and pod. What the rail
// fat tree and the multi-plane network have in common; they differ in which leaves share spines.
#pragma once

#include <cstdint>
#include <memory>

#include "models/cluster/cable.hpp"

namespace moesim {

/// Which leaves hang on the same spines.
enum class Spines : std::uint8_t {
  shared,     ///< all leaves of the cluster: two levels
  per_pod,    ///< the leaves of one pod; the pods meet in a core: three levels
  per_plane,  ///< the leaves of one rail: the rails never meet
};

/// How a device reaches a device of another node on another rail.
enum class CrossRail : std::uint8_t {
  forward,  ///< over NVLink to the device of its own node on the destination's rail, which sends it on
  spine,    ///< from its own rail's leaf over the spines to the other's
};

/// The tree. The NICs of rail r of a pod's nodes go to that pod's leaf r. Parallel cables between two layers
/// are one bundled link a direction, and the switches of a layer that serve the same leaves are one vertex:
/// adaptive routing spreads traffic over them evenly, so that only their sum limits it.
struct FatTree {
  std::uint32_t devices_per_node = 8;
  std::uint32_t nics_per_node = 8;   ///< divides devices_per_node; neighbours share where it is less
  std::uint32_t nodes_per_pod = 32;  ///< ports of a leaf towards nodes
  Cable nvlink;
  Cable pcie;  ///< device to NIC; only where devices share a NIC, else the NIC itself is the narrower
  Cable nic;   ///< NIC to leaf
  Time switch_latency;
  Spines spines = Spines::shared;
  CrossRail cross_rail = CrossRail::forward;
  double taper = 1;       ///< capacity of a leaf towards nodes over that towards spines
  double core_taper = 1;  ///< capacity of a pod's spines towards leaves over that towards the core
};

/// Reads the keys that every such tree has; `spines`, `cross_rail` and `core_taper` stay as they are.
FatTree read_fat_tree(Reader& reader);

/// The tree as a member of the family.
std::unique_ptr<const Topology> make_topology(const FatTree& tree);

}  // namespace moesim
