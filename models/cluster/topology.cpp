// The register of the topology family: a line here and a line in the table for each member.
#include "models/cluster/cluster.hpp"

namespace moesim {

extern const Entry<Topology> nvswitch_topology;
extern const Entry<Topology> rail_fat_tree_topology;
extern const Entry<Topology> multi_plane_topology;
extern const Entry<Topology> torus_topology;
extern const Entry<Topology> dragonfly_topology;
extern const Entry<Topology> star_topology;

namespace {

constinit const Entry<Topology>* const members[] = {&nvswitch_topology,    &rail_fat_tree_topology,
                                                    &multi_plane_topology, &torus_topology,
                                                    &dragonfly_topology,   &star_topology};

}  // namespace

Register<Topology> topologies() { return members; }

}  // namespace moesim
