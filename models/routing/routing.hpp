// Which experts a token is sent to, and so how many nodes and ranks it has to reach.
#pragma once

#include <cstdint>
#include <span>

#include "models/base/random.hpp"
#include "models/config/family.hpp"

namespace moesim {

/// What the router chooses from.
struct Gate {
  std::int64_t experts = 1;
  std::int64_t top_k = 1;
  std::int64_t groups = 1;         ///< equal, contiguous groups of experts ...
  std::int64_t chosen_groups = 1;  ///< ... of which a token may reach this many
};

/// A routing policy. A family.
class Routing {
 public:
  virtual ~Routing() = default;
  /// Draws the `chosen.size()` distinct experts of one token. The stream belongs to (layer, microbatch).
  virtual void choose(const Gate& gate, RandomStream& random, std::span<std::int32_t> chosen) const = 0;
  /// Throws InputError, whose message is what is wrong, where the policy cannot choose from this gate.
  virtual void check(const Gate&) const {}
  /// How many of `blocks` equal, contiguous blocks of experts (nodes, ranks) one token reaches on average.
  /// Sampled from choose() with a standard error under 0.5 %; members that know it exactly say so.
  virtual double reach(const Gate& gate, std::int64_t blocks, const Random& random) const;
};

/// Expected number of blocks that k distinct experts, drawn evenly from `experts`, fall into: blocks x (1 -
/// C(E - E/blocks, k) / C(E, k)).
double even_reach(std::int64_t experts, std::int64_t top_k, std::int64_t blocks);

/// What the busiest of `ranks` gets over the mean when their loads are spread normally with standard
/// deviation `spread` x mean: 1 + spread x the expected highest of as many normal draws (Blom's
/// approximation, Statistical Estimates and Transformed Beta-Variables, 1958; within 1 % from 2 ranks on).
double busiest_over_mean(double spread, std::int64_t ranks);

/// The members of the family.
Register<Routing> routings();

}  // namespace moesim
