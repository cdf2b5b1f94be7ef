// How much more some experts are liked than others, before anything balances them.
#pragma once

#include <cstdint>
#include <vector>

#include "models/base/random.hpp"
#include "models/config/family.hpp"

namespace moesim {

/// The natural popularity of experts. A family.
class Skew {
 public:
  virtual ~Skew() = default;
  /// Each expert's share of all choices of a layer and microbatch; sums to 1. A function of its arguments
  /// only.
  virtual std::vector<double> popularity(std::int64_t experts, std::int64_t layer, std::int64_t microbatch,
                                         const Random& random) const = 0;
  /// Whether all experts are equally popular, always.
  virtual bool is_even() const { return false; }
  /// Whether the microbatches of a layer differ.
  virtual bool varies() const { return false; }
  /// Throws InputError, whose message is what is wrong, where there is no popularity of so many experts.
  virtual void check(std::int64_t) const {}
};

/// The members of the family.
Register<Skew> skews();

}  // namespace moesim
