// What limits an op: arithmetic or traffic, whichever takes longer, and what comes on top (Williams,
// Waterman, Patterson, CACM 2009). Shared by the models of kernels.
#pragma once

#include <cstdint>

#include "models/base/real.hpp"
#include "models/cost/cost.hpp"

namespace moesim {

constexpr std::int64_t divide_up(std::int64_t a, std::int64_t b) { return a / b + (a % b > 0 ? 1 : 0); }

/// The two bounds of one op and what comes on top of them, in seconds.
struct Bounds {
  double compute = 0;
  double memory = 0;
  double overhead = 0;
  double unhidden = 0;  ///< share of the shorter roof that the longer one does not hide
};

/// The time under both bounds and which of them it is.
OpTime under(const Bounds& bounds);

/// Seconds between an op's kernels and their shortest runs.
double launches(const Op& op, const Device& device);

/// Seconds for the op's bytes at the bandwidth that is reached. Each kernel runs at half speed until the
/// memory pipeline is full.
double traffic(const Device& device, const Op& op);

/// Seconds that one multiprocessor takes for one step of depth of one tile of elements of `element` bytes:
/// arithmetic, or operands from the cache where a small tile reuses them too little.
double step_time(const GemmBehaviour& gemm, const Device& device, Tile tile, double element);

}  // namespace moesim
