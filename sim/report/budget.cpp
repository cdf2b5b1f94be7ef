#include "sim/report/budget.hpp"

#include "sim/report/report.hpp"

namespace moesim {
namespace {

constexpr double seconds_per_hour = 3600;
constexpr double joules_per_kwh = 3.6e6;

/// What the site draws for a device, mean over the whole training.
Power site_power(const Budget& budget, const PowerReport& power, const Report& report) {
  const double working = report.goodput ? report.goodput->working : 1;
  const Power device = power.mean * working + power.idle_power * (1 - working);
  return (device + budget.host_power) * budget.pue;
}

/// Nothing without a price.
std::optional<double> priced(double amount, double price) {
  return price > 0 ? std::optional(amount * price) : std::nullopt;
}

}  // namespace

BudgetReport budget_of(const Budget& budget, const Report& report) {
  const double kept = report.goodput ? report.goodput->simulated : 1;
  BudgetReport of;
  of.tokens = budget.tokens;
  of.steps = budget.tokens / static_cast<double>(report.tokens);
  if (kept <= 0) return of;
  of.wall_clock = WallClock{of.steps * to_seconds(report.step_time) / kept};
  const double device_hours = of.wall_clock->count * static_cast<double>(report.devices) / seconds_per_hour;
  of.device_hours = device_hours;
  of.device_cost = priced(device_hours, budget.price_per_device_hour);
  if (report.power) {
    of.kwh =
        site_power(budget, *report.power, report).count * device_hours * seconds_per_hour / joules_per_kwh;
    of.energy_cost = priced(*of.kwh, budget.price_per_kwh);
    of.carbon_kg = priced(*of.kwh, budget.kg_per_kwh);
  }
  if (of.device_cost || of.energy_cost) of.cost = of.device_cost.value_or(0) + of.energy_cost.value_or(0);
  return of;
}

}  // namespace moesim
