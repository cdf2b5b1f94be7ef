// A run of many steps over which the popularity of experts drifts.
#pragma once

#include <cstdint>
#include <string_view>

#include "models/routing/drift.hpp"

namespace moesim {

/// What goes with an expert that moves to another rank.
enum class Carried : std::uint8_t {
  states,   ///< parameters and the optimizer's states
  weights,  ///< parameters alone: states are elsewhere, or begin anew
};
inline constexpr std::string_view carried_names[] = {"states", "weights"};

/// How experts are placed anew while the run goes on.
struct Rebalance {
  std::int64_t every = 0;   ///< steps between two placements; 0: the first one stays
  std::int64_t window = 1;  ///< steps before, whose mean load decides; 0: the load of the step itself
  Carried carries = Carried::states;
  bool keeps_places = true;  ///< ranks of a node, and nodes, get back what they held as far as it goes
  double hidden = 0;         ///< share of the moving that goes on beside the step
};

/// A run of steps of one scenario.
struct DriftRun {
  std::int64_t steps = 1;
  Drift drift;
  Rebalance rebalance;
};

}  // namespace moesim
