// What a training is to go through, and what its devices and their energy cost.
#pragma once

#include "models/base/units.hpp"

namespace moesim {

/// Prices in any currency; one that is 0 is not counted.
struct Budget {
  double tokens = 1e12;
  double price_per_device_hour = 0;
  double price_per_kwh = 0;
  double kg_per_kwh = 0;  ///< of carbon dioxide
  double pue = 1;         ///< energy of the whole site over that of its devices and hosts
  Power host_power;       ///< of hosts, NICs and switches, for each device
};

}  // namespace moesim
