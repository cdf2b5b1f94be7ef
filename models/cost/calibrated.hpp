// The calibrated cost model, for those who have a calibration in hand.
#pragma once

#include <memory>

#include "models/cost/calibration.hpp"
#include "models/cost/cost.hpp"

namespace moesim {

/// The physical model with the calibration's device, times its surfaces. Answers for that device alone:
/// another name is an InputError.
std::unique_ptr<const Cost> make_calibrated(const Calibration& calibration, double streaming_passes);

}  // namespace moesim
