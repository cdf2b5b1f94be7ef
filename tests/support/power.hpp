// A device that draws power, for tests: round numbers near those of an H200.
#pragma once

#include <fmt/format.h>

#include <string>

namespace moesim::testing {

/// Sets it in a scenario, with that limit in watts.
inline std::string power_set(double limit = 700) {
  return fmt::format(
      R"(cluster.device.power={{"limit": "{} W", "window": "50 ms", "idle": "100 W", "active": "300 W",
          "per_byte": "40 pJ", "per_flop": {{"fp32": "5 pJ", "bf16": "0.6 pJ", "fp8": "0.4 pJ"}},
          "exponent": 2.5, "knee": 0.9, "per_sent": "1000 pJ"}})",
      limit);
}

}  // namespace moesim::testing
