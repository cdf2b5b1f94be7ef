// What a whole training takes: time, devices, energy, money.
#pragma once

#include <cstdint>
#include <optional>

#include "models/base/units.hpp"
#include "sim/scenario/budget.hpp"

namespace moesim {

struct Report;

/// Of all tokens of the budget. What has no price, or needs the power of devices where it is not known, is
/// not there.
struct BudgetReport {
  double tokens = 0;
  double steps = 0;                     ///< that are kept
  std::optional<WallClock> wall_clock;  ///< nothing where it never ends, nor of what goes with it
  std::optional<double> device_hours;
  std::optional<double> kwh;                             ///< of the whole site
  std::optional<double> device_cost, energy_cost, cost;  ///< in the currency of the prices
  std::optional<double> carbon_kg;
};

/// Steps like the reported one until all tokens are through. With failures (`goodput`) it takes longer by
/// them; devices then draw what a step does while they compute, and what they draw idle while they
/// write checkpoints and start anew. It never ends where no step is ever kept.
BudgetReport budget_of(const Budget& budget, const Report& report);

}  // namespace moesim
