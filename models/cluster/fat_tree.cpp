#include "models/cluster/fat_tree.hpp"

#include <fmt/format.h>

#include "models/base/error.hpp"

namespace moesim {
namespace {

/// Where the layers of a tree of so many devices begin among vertices and links. A cable takes two link
/// numbers, so that each layer's cable i has the links first + 2i (up) and first + 2i + 1 (down).
struct Layout {
  std::uint32_t nodes, pods, rails, leaves, spines;
  bool shared_nics, has_core;
  std::uint32_t nic_vertex, leaf_vertex, spine_vertex, core_vertex;
  LinkId pcie_link, nic_link, leaf_link, spine_link;

  Layout(const FatTree& tree, std::uint32_t devices) {
    nodes = devices / tree.devices_per_node;
    pods = (nodes + tree.nodes_per_pod - 1) / tree.nodes_per_pod;
    rails = tree.nics_per_node;
    leaves = pods * rails;
    spines = tree.spines == Spines::shared ? 1 : tree.spines == Spines::per_pod ? pods : rails;
    shared_nics = tree.nics_per_node < tree.devices_per_node;
    has_core = tree.spines == Spines::per_pod;

    nic_vertex = devices + nodes;
    leaf_vertex = nic_vertex + (shared_nics ? nodes * rails : 0);
    spine_vertex = leaf_vertex + leaves;
    core_vertex = spine_vertex + spines;

    pcie_link = 2 * devices;
    nic_link = pcie_link + (shared_nics ? 2 * devices : 0);
    leaf_link = nic_link + 2 * nodes * rails;
    spine_link = leaf_link + 2 * leaves;
  }
};

std::uint32_t rail_of(const FatTree& tree, DeviceId device) {
  return device % tree.devices_per_node * tree.nics_per_node / tree.devices_per_node;
}

struct Leaf {
  std::uint32_t pod, rail;
};

std::uint32_t spine_of(const FatTree& tree, Leaf leaf) {
  return tree.spines == Spines::shared ? 0 : tree.spines == Spines::per_pod ? leaf.pod : leaf.rail;
}

void add_vertices(Wiring& wiring, const FatTree& tree, const Layout& at) {
  for (std::uint32_t nic = 0; at.shared_nics && nic < at.nodes * at.rails; ++nic) {
    const std::uint32_t node = nic / at.rails;
    wiring.vertices.push_back({.name = fmt::format("node {} nic {}", node, nic % at.rails), .node = node});
  }
  const std::string_view rail_word = tree.spines == Spines::per_plane ? "plane" : "rail";
  for (std::uint32_t leaf = 0; leaf < at.leaves; ++leaf) {
    wiring.vertices.push_back(
        {.name = fmt::format("{} {} leaf {}", rail_word, leaf % at.rails, leaf / at.rails)});
  }
  for (std::uint32_t spine = 0; spine < at.spines; ++spine) {
    wiring.vertices.push_back({.name = tree.spines == Spines::shared ? "spine"
                                       : tree.spines == Spines::per_pod
                                           ? fmt::format("pod {} spine", spine)
                                           : fmt::format("plane {} spine", spine)});
  }
  if (at.has_core) wiring.vertices.push_back({.name = "core"});
}

/// The NICs, a vertex each only where devices share them, and their cables to the leaves.
void wire_nics(Wiring& wiring, const FatTree& tree, const Layout& at) {
  if (at.shared_nics) {
    for (DeviceId device = 0; device < wiring.devices; ++device) {
      const std::uint32_t node = device / tree.devices_per_node;
      lay(wiring, tree.pcie, device, at.nic_vertex + node * at.rails + rail_of(tree, device));
    }
  }
  for (std::uint32_t nic = 0; nic < at.nodes * at.rails; ++nic) {
    const std::uint32_t pod = nic / at.rails / tree.nodes_per_pod;
    const std::uint32_t lower = at.shared_nics ? at.nic_vertex + nic : nic;
    lay(wiring, tree.nic, lower, at.leaf_vertex + pod * at.rails + nic % at.rails);
  }
}

/// Leaves to spines, spines to core. A leaf has the uplinks that its ports ask for, whether or not all nodes
/// of its pod are there: reference designs cable part-filled pods whole (NVIDIA DGX SuperPOD, network
/// fabrics).
void wire_switches(Wiring& wiring, const FatTree& tree, const Layout& at) {
  const Rate uplink = tree.nic.rate * (tree.nodes_per_pod / tree.taper);
  const Cable leaf_spine{LinkClass::leaf_spine, uplink, tree.switch_latency, tree.switch_latency};
  for (std::uint32_t leaf = 0; leaf < at.leaves; ++leaf) {
    const std::uint32_t spine = spine_of(tree, {leaf / at.rails, leaf % at.rails});
    lay(wiring, leaf_spine, at.leaf_vertex + leaf, at.spine_vertex + spine);
  }
  if (!at.has_core) return;
  const Rate core_link = uplink * (at.rails / tree.core_taper);
  const Cable spine_core{LinkClass::spine_core, core_link, tree.switch_latency, tree.switch_latency};
  for (std::uint32_t spine = 0; spine < at.spines; ++spine) {
    lay(wiring, spine_core, at.spine_vertex + spine, at.core_vertex);
  }
}

void route_between_leaves(const FatTree& tree, const Layout& at, Leaf from, Leaf to,
                          std::vector<LinkId>& links) {
  if (from.pod == to.pod && from.rail == to.rail) return;
  links.push_back(at.leaf_link + 2 * (from.pod * at.rails + from.rail));
  if (spine_of(tree, from) != spine_of(tree, to)) {
    links.push_back(at.spine_link + 2 * spine_of(tree, from));
    links.push_back(at.spine_link + 2 * spine_of(tree, to) + 1);
  }
  links.push_back(at.leaf_link + 2 * (to.pod * at.rails + to.rail) + 1);
}

class SwitchedNodes final : public Topology {
 public:
  explicit SwitchedNodes(const FatTree& tree) : tree_(tree) {}
  Wiring wire(std::uint32_t devices) const override;
  void route(const Wiring& wiring, DeviceId from, DeviceId to, std::vector<LinkId>& links) const override;

 private:
  FatTree tree_;
};

Wiring SwitchedNodes::wire(std::uint32_t devices) const {
  if (devices % tree_.devices_per_node != 0) {
    throw InputError("", fmt::format("is {}, which is no multiple of devices_per_node {}", devices,
                                     tree_.devices_per_node));
  }
  const Layout at(tree_, devices);
  Wiring wiring = wire_nodes(devices, tree_.devices_per_node, tree_.nvlink);
  add_vertices(wiring, tree_, at);
  wire_nics(wiring, tree_, at);
  ensure(wiring.links.size() == at.leaf_link, "links of NICs are numbered as routes expect");
  wire_switches(wiring, tree_, at);
  return wiring;
}

void SwitchedNodes::route(const Wiring& wiring, DeviceId from, DeviceId to,
                          std::vector<LinkId>& links) const {
  if (from == to) return;
  const std::uint32_t from_node = from / tree_.devices_per_node;
  const std::uint32_t to_node = to / tree_.devices_per_node;
  if (from_node == to_node) return route_in_node(from, to, links);

  const std::uint32_t to_rail = rail_of(tree_, to);
  if (tree_.cross_rail == CrossRail::forward && rail_of(tree_, from) != to_rail) {
    const DeviceId via = from_node * tree_.devices_per_node + to % tree_.devices_per_node;
    route_in_node(from, via, links);
    from = via;
  }
  const std::uint32_t from_rail = rail_of(tree_, from);
  const Layout at(tree_, wiring.devices);
  if (at.shared_nics) links.push_back(at.pcie_link + 2 * from);
  links.push_back(at.nic_link + 2 * (from_node * at.rails + from_rail));
  route_between_leaves(tree_, at, {from_node / tree_.nodes_per_pod, from_rail},
                       {to_node / tree_.nodes_per_pod, to_rail}, links);
  links.push_back(at.nic_link + 2 * (to_node * at.rails + to_rail) + 1);
  if (at.shared_nics) links.push_back(at.pcie_link + 2 * to + 1);
}

void read_nics(Reader& reader, FatTree& tree) {
  tree.nics_per_node =
      read_count(reader, "nics_per_node", "default: one a device; fewer are shared by neighbours",
                 tree.devices_per_node);
  if (tree.devices_per_node % tree.nics_per_node != 0) {
    reader.fail("nics_per_node", fmt::format("is {}, which does not divide devices_per_node {}",
                                             tree.nics_per_node, tree.devices_per_node));
  }
  // 2.8 us on one leaf, 3.7 us over a spine, so 0.45 us for each of the two switches more: Insights into
  // DeepSeek-V3 (arXiv 2505.09343), table 5, 64 bytes end to end.
  tree.nic = read_nic(reader, LinkClass::infiniband, Time{2'800'000});
  tree.switch_latency = reader.time({.name = "switch_latency",
                                     .help = "of each switch after the first, its cable included",
                                     .fallback = Time{450'000}});
  // PCI Express 4.0 x16 at 80 % (as SimAI's A100_PCIE_BW has it); the latency is part of nic_latency.
  constexpr Rate usual{25.6e9};
  const Rate pcie =
      reader.rate({.name = "pcie_rate",
                   .help = "from a device to the NIC it shares, per direction, as traffic reaches it",
                   .fallback = usual});
  if (tree.nics_per_node == tree.devices_per_node && pcie != usual)
    reader.fail("pcie_rate", "is given, but no NIC is shared (nics_per_node equals devices_per_node)");
  tree.pcie = cable_of(LinkClass::pcie, pcie, Time{});
}

}  // namespace

FatTree read_fat_tree(Reader& reader) {
  FatTree tree;
  tree.devices_per_node = read_count(reader, "devices_per_node", "devices that NVSwitch joins", 8);
  tree.nodes_per_pod =
      read_count(reader, "nodes_per_pod", "nodes under one leaf switch a rail: its ports down", 32);
  tree.nvlink = read_nvlink(reader);
  read_nics(reader, tree);
  tree.taper = read_taper(reader, "taper",
                          "capacity of a leaf towards nodes over that towards spines; 1 blocks nothing");
  return tree;
}

std::unique_ptr<const Topology> make_topology(const FatTree& tree) {
  return std::make_unique<SwitchedNodes>(tree);
}

}  // namespace moesim
