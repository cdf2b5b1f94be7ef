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

/// A measurement that a surface through all others is off by so much (as a logarithm), and the deviation that
/// it expects.
struct LeftOut {
  double off = 0, deviation = 0;
};
/// Of each measurement of a family that was fitted, by each way of computing it.
std::vector<LeftOut> left_out_of(const FamilyFit& fit, const Cost& physical, const Device& device,
                                 const std::vector<Measured>& grid);

}  // namespace moesim
