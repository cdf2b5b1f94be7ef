// The rail-optimized fat tree of two or three levels: NIC i of every node of a pod goes to leaf i of that
// pod, as in NVIDIA's DGX SuperPOD. Traffic to another rail is forwarded inside the node first (PXN of NCCL),
// or takes the spines.
#include "models/cluster/fat_tree.hpp"
#include "models/config/family.hpp"

namespace moesim {
namespace {

std::unique_ptr<const Topology> make(Reader& reader) {
  FatTree tree = read_fat_tree(reader);
  const std::int64_t levels =
      reader.integer({.name = "levels",
                      .help = "2: leaves and spines; 3: each pod its spines, and a core",
                      .fallback = 2,
                      .at_least = 2,
                      .at_most = 3});
  tree.spines = levels == 2 ? Spines::shared : Spines::per_pod;
  tree.core_taper = read_taper(reader, "core_taper",
                               "capacity of a pod's spines towards leaves over that towards the core");
  if (levels == 2 && tree.core_taper != 1)
    reader.fail("core_taper", "is given, but a tree of 2 levels has no core");
  static constexpr std::string_view ways[] = {"forward", "spine"};
  const std::size_t way = reader.choice(
      {.name = "cross_rail",
       .help = "to another rail: forward over NVLink inside the sending node, or over the spines",
       .fallback = "forward"},
      ways);
  tree.cross_rail = way == 0 ? CrossRail::forward : CrossRail::spine;
  return make_topology(tree);
}

}  // namespace

extern constexpr Entry<Topology> rail_fat_tree_topology{
    .name = "rail_fat_tree",
    .sentence = "NVSwitch nodes on a rail-optimized InfiniBand fat tree of two or three levels",
    .make = make};

}  // namespace moesim
