// The register of the topology family: a line here and a line in the table for each member.
#include <array>

#include "models/cluster/cluster.hpp"

namespace moesim {

namespace topology {
extern const Entry<Topology> nvswitch;
extern const Entry<Topology> rail_fat_tree;
extern const Entry<Topology> multi_plane;
extern const Entry<Topology> torus;
extern const Entry<Topology> dragonfly;
extern const Entry<Topology> star;
}  // namespace topology

namespace {
constinit const std::array<const Entry<Topology>*, 6> members{
    &topology::nvswitch, &topology::rail_fat_tree, &topology::multi_plane,
    &topology::torus,    &topology::dragonfly,     &topology::star};
}  // namespace

Register<Topology> topologies() { return members; }

}  // namespace moesim
