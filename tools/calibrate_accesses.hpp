// What moesim calibrate says of the kernels of common software.
#pragma once

#include <string>

#include "models/cost/calibration.hpp"

namespace moesim {

/// A line for each access: its numbers, how far they are off, and the numbers of the code on the same sizes;
/// and which accesses have none. Empty where none were measured.
std::string accesses_table(const Calibration& calibration, const std::vector<Measured>& measured);

/// How far a calibration is off from measurements of such kernels; empty where there are none.
std::string accesses_check(const Calibration& calibration, const std::vector<Measured>& measured);

}  // namespace moesim
