// The register of the topology family: a line here and a line in the table for each member.
#include <array>

#include "models/cluster/cluster.hpp"

namespace moesim {

namespace topology {
extern const Entry<Topology> nvswitch;
extern const Entry<Topology> rail_fat_tree;
extern const Entry<Topology> multi_plane;
}  // namespace topology

namespace {
constinit const std::array<const Entry<Topology>*, 3> members{&topology::nvswitch, &topology::rail_fat_tree,
                                                              &topology::multi_plane};
}  // namespace

Register<Topology> topologies() { return members; }

}  // namespace moesim
