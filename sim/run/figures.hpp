// What published measurements measure, read off a simulation.
#pragma once

#include <span>
#include <string_view>

#include "sim/run/simulate.hpp"

namespace moesim {

/// What a figure is a measurement of, where errors of times are told apart by it.
enum class Measures : std::uint8_t {
  other,
  step,       ///< the time of a step, or of a communication alone
  step_rate,  ///< something over that time
  kernels,    ///< of one class, in a step
  exchange,   ///< of tokens, in a step
  exchange_rate,
  exposed,  ///< communication that nothing hides
};

/// A figure as papers give it.
struct Figure {
  std::string_view name, unit;
  /// Throws InputError where the scenario has no such figure, as a throughput without a model.
  double (*of)(const Scenario& scenario, const Simulation& simulation);
  Measures measures = Measures::other;
  KernelClass kernel_class = KernelClass::host;  ///< of Measures::kernels
  Activity exchange = Activity::none;            ///< of Measures::exchange, exchange_rate

  bool is_rate() const { return measures == Measures::step_rate || measures == Measures::exchange_rate; }
};

/// All figures, in the order in which errors list them.
std::span<const Figure> figures();

}  // namespace moesim
