// What corrects the physical model for one family of ops, and how good the two together are.
#pragma once

#include <vector>

#include "models/cost/calibration.hpp"

namespace moesim {

/// The families of a grid, in its order.
std::vector<Family> families_in(const std::vector<Measured>& grid);

/// The surfaces of one family. Adds what is off on shapes outside of the grid to `all_judged`, as logarithms
/// of predicted over measured.
FamilyFit fit_family(const Family& family, const Cost& cost, const Device& device,
                     const std::vector<Measured>& grid, std::vector<double>& all_judged);

}  // namespace moesim
