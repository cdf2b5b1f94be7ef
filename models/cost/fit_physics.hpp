// The numbers of the physical model that fit a device's measurements best; what its data sheet says stays.
#pragma once

#include <vector>

#include "models/cost/calibration.hpp"

namespace moesim {

/// Memory, products and attention of `device`, as `cost` uses them, by what is in the grid.
void fit_physics(const Cost& cost, Device& device, const std::vector<Measured>& grid);

/// For each number of multiprocessors held (`sms`, one for each of `held`), the interference with which half
/// the products come out too slow.
void fit_contention(const Cost& cost, Device& device, const std::vector<Measured>& held,
                    const std::vector<std::int64_t>& sms);

}  // namespace moesim
