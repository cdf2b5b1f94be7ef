#include "models/config/fields.hpp"

#include <fmt/format.h>

#include "models/config/values.hpp"

namespace moesim {

Value fitted_value(double ratio) { return value_of(std::stod(fmt::format("{:.6g}", ratio))); }

Value fitted_value(Time time) { return value_of(fmt::format("{:.6g} us", to_seconds(time) * 1e6)); }

Value fitted_value(Rate rate) { return value_of(fmt::format("{:.6g} GB/s", rate.count / 1e9)); }

Value fitted_value(Power power) { return value_of(fmt::format("{:.6g} W", power.count)); }

Value fitted_value(Energy energy) { return value_of(fmt::format("{:.6g} pJ", energy.count * 1e12)); }

}  // namespace moesim
