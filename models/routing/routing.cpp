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
extern const Entry<Routing> expert_choice_routing;

namespace {

constinit const Entry<Routing>* const members[] = {&balanced_routing,      &top_k_routing,
                                                   &group_limited_routing, &switch_routing,
                                                   &gshard_routing,        &expert_choice_routing};

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

namespace {

/// The chance that a token reaches a block of so many experts.
double reaches(std::int64_t experts, std::int64_t top_k, std::int64_t block) {
  const std::int64_t elsewhere = experts - block;
  double missed = 1;  // the chance that one block is reached by none of the k draws
  for (std::int64_t draw = 0; draw < top_k; ++draw) {
    missed *= static_cast<double>(std::max<std::int64_t>(elsewhere - draw, 0)) /
              static_cast<double>(experts - draw);
  }
  return 1 - missed;
}

}  // namespace

double even_reach(std::int64_t experts, std::int64_t top_k, std::int64_t blocks) {
  ensure(blocks >= 1 && top_k <= experts, "a token's experts are different ones, in some blocks");
  const std::int64_t smaller = experts / blocks;
  const std::int64_t larger_blocks = experts % blocks;
  const double in_smaller = static_cast<double>(blocks - larger_blocks) * reaches(experts, top_k, smaller);
  if (larger_blocks == 0) return in_smaller;
  return in_smaller + static_cast<double>(larger_blocks) * reaches(experts, top_k, smaller + 1);
}

}  // namespace moesim
