// Which number formats go together, and with what of a scenario.
#pragma once

#include "models/config/misfit.hpp"
#include "sim/scenario/scenario.hpp"

namespace moesim {

/// Products in narrow formats are known of device and software, and so is what becomes of their weights.
Fit fits_precision(const Scenario& scenario);
/// Weights in fp8, or copies of them, go with that way of synchronisation.
Fit fits_narrow_weights(const PrecisionPlan& precision, const GradientPlan& plan);

}  // namespace moesim
