// Iterations of Newton and Schulz on a matrix.
#pragma once

#include <cstdint>
#include <vector>

#include "models/optimizer/optimizer.hpp"

namespace moesim {

/// An op, so many times.
struct Repeated {
  Op op;
  double times = 1;
};

/// What brings the singular values of a rows x columns matrix in bf16 near 1. X is divided by its norm; then
/// each iteration takes A = X X^T, B = b A + c A A, X = a X + B X, all of the shorter side (Jordan et al.,
/// https://kellerjordan.github.io/posts/muon). Step by step (torch/optim/_muon.py) the products that add to a
/// matrix copy it first, and a tall matrix is read and written across.
std::vector<Repeated> newton_schulz(std::int64_t rows, std::int64_t columns, std::int64_t iterations,
                                    Walk walk);

}  // namespace moesim
