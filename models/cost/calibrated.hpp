// The calibrated cost model, for those who have a calibration in hand.
#pragma once

#include <memory>

#include "models/cost/calibration.hpp"
#include "models/cost/cost.hpp"

namespace moesim {

/// The physical model with the calibration's device, times its surfaces. For a device of that name alone:
/// another is an InputError. Kernels that say how they go over memory (Op::access) are the physical model's
/// on the device that is asked for. What its numbers change takes effect by the physical model: times are
/// those measured, times the model's for the device over the model's for the one that it is a change of.
std::unique_ptr<const Cost> make_calibrated(const Calibration& calibration);

}  // namespace moesim
