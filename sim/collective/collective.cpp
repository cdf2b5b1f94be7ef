#include "sim/collective/collective.hpp"

namespace moesim {

extern const Entry<Collective> pairwise_collective;
extern const Entry<Collective> hierarchical_collective;
extern const Entry<Collective> ring_collective;
extern const Entry<Collective> tree_collective;
extern const Entry<Collective> nccl_collective;

namespace {

constinit const Entry<Collective>* const members[] = {&pairwise_collective, &hierarchical_collective,
                                                      &ring_collective, &tree_collective, &nccl_collective};

}  // namespace

Register<Collective> collectives() { return members; }

}  // namespace moesim
