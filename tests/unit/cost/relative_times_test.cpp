// Devices of one machine beside each other: which is the odd one.
#include <catch2/catch.hpp>
#include <cmath>

#include "models/cost/relative_times.hpp"

using namespace moesim;

namespace {

/// A device that takes `factor` times as long; `odd` shapes of its own come first.
Calibration device(double factor, int odd = 0) {
  Calibration calibration;
  for (int i = 0; i < odd; ++i)
    calibration.grid.push_back(
        {.op = make_gemm("", OpPass::forward, 7, 7, 7 + i, Precision::bf16), .seconds = 1, .line = {}});
  for (const int m : {64, 128, 256, 512, 1024})
    calibration.grid.push_back({.op = make_gemm("", OpPass::forward, m, 64, 64, Precision::bf16),
                                .seconds = 1e-5 * m * factor,
                                .line = {}});
  return calibration;
}

}  // namespace

TEST_CASE("Among devices of one machine the slow one stands out, whatever the first is like") {
  const std::vector<double> off = relative_times({device(1.2), device(1), device(1.01), device(1)});
  REQUIRE(off.size() == 4);
  CHECK(off[0] == Approx(1.2 / 1.01 - 1));
  CHECK(std::abs(off[1]) < odd_device);
  CHECK(std::abs(off[2]) < odd_device);
}

TEST_CASE("Devices are compared over the shapes that both measured") {
  const std::vector<double> off = relative_times({device(1), device(1, 3), device(1.1, 2)});
  CHECK(off[1] == Approx(0).margin(1e-12));
  CHECK(off[2] == Approx(0.1));
}
