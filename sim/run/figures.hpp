// What published measurements measure, read off a simulation.
#pragma once

#include <span>
#include <string_view>

#include "sim/run/simulate.hpp"

namespace moesim {

/// A figure as papers give it.
struct Figure {
  std::string_view name, unit;
  /// Throws InputError where the scenario has no such figure, as a throughput without a model.
  double (*of)(const Scenario& scenario, const Simulation& simulation);
};

/// All figures, in the order in which errors list them.
std::span<const Figure> figures();

}  // namespace moesim
