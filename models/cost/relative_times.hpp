// Several devices of one machine beside each other.
#pragma once

#include <vector>

#include "models/cost/calibration.hpp"

namespace moesim {

/// For each device, how long it takes over what the device in the middle takes, less 1: the median over the
/// shapes that it and the first device measured.
std::vector<double> relative_times(const std::vector<Calibration>& devices);

/// More than this from the others is no noise: the odd one.
inline constexpr double odd_device = 0.03;

}  // namespace moesim
