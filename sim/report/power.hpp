// What devices draw in a step.
#pragma once

#include <vector>

#include "sim/report/occupancy.hpp"
#include "sim/report/report.hpp"

namespace moesim {

/// Of a scenario whose devices' power is known, from the step's breakdown and kernels.
PowerReport power_of(const Scenario& scenario, const std::vector<Occupancy>& actors, const Report& report);

}  // namespace moesim
