// Texts with units to quantities: "50 GB/s", "2 us", "80 GiB", "989 TFLOPS", "700 W", "24 pJ".
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "models/base/units.hpp"

namespace moesim {

/// What a text with a unit came to: the amount in the base unit, or why it did not.
struct Parsed {
  std::optional<double> amount;
  std::string problem;  ///< "has no unit", "has the unknown unit 'GB', expected a rate as ...", ...
};

/// Each takes a number, optional space, and a unit of that dimension.
Parsed parse_time(std::string_view text);
Parsed parse_bytes(std::string_view text);
Parsed parse_rate(std::string_view text);
Parsed parse_flop_rate(std::string_view text);
Parsed parse_power(std::string_view text);
Parsed parse_energy(std::string_view text);

}  // namespace moesim
