// The multi-plane two-level fat tree of Insights into DeepSeek-V3 (arXiv 2505.09343, section 5): each NIC of
// a node is a plane of its own with its own leaves and spines. Planes never meet, so traffic to another plane
// is forwarded over NVLink inside the sending node.
#include "models/cluster/fat_tree.hpp"
#include "models/config/family.hpp"

namespace moesim {
namespace {

std::unique_ptr<const Topology> make(Reader& reader) {
  FatTree tree = read_fat_tree(reader);
  tree.spines = Spines::per_plane;
  return make_topology(tree);
}

}  // namespace

extern constexpr Entry<Topology> multi_plane_topology{
    .name = "multi_plane",
    .sentence = "NVSwitch nodes whose NICs are planes of their own, each a two-level InfiniBand fat tree",
    .make = make};

}  // namespace moesim
