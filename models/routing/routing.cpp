#include "models/routing/routing.hpp"

#include <algorithm>
#include <cmath>

#include "models/base/error.hpp"

namespace moesim {

extern const Entry<Routing> balanced_routing;
extern const Entry<Routing> top_k_routing;
extern const Entry<Routing> group_limited_routing;
extern const Entry<Routing> switch_routing;
extern const Entry<Routing> gshard_routing;

namespace {

constinit const Entry<Routing>* const members[] = {&balanced_routing, &top_k_routing, &group_limited_routing,
                                                   &switch_routing, &gshard_routing};

}  // namespace

Register<Routing> routings() { return members; }

Loads Routing::route(const Demand& demand, RandomStream& random) const {
  Loads loads;
  route(demand, random, loads);
  return loads;
}

double Routing::reach(const Gate& gate, std::int64_t blocks, const Random&) const {
  return even_reach(gate.experts, gate.top_k, blocks);
}

double even_reach(std::int64_t experts, std::int64_t top_k, std::int64_t blocks) {
  ensure(blocks >= 1 && experts % blocks == 0 && top_k <= experts, "blocks divide the experts evenly");
  const std::int64_t elsewhere = experts - experts / blocks;
  double missed = 1;  // the chance that one block is reached by none of the k draws
  for (std::int64_t draw = 0; draw < top_k; ++draw) {
    missed *= static_cast<double>(std::max<std::int64_t>(elsewhere - draw, 0)) /
              static_cast<double>(experts - draw);
  }
  return static_cast<double>(blocks) * (1 - missed);
}

}  // namespace moesim
