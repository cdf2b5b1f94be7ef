// The own kernel for grouped products as physics: what its blocks do, tile by tile.
#include "models/cost/grouped_kernel.hpp"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>

#include "models/config/document.hpp"
#include "models/cost/roofline.hpp"
#include "tests/support/devices.hpp"

using namespace moesim;

namespace {

Device h200() { return testing::device("h200.json"); }

/// A kernel that does nothing but arithmetic: a nanosecond for each element of a tile and step of depth.
GemmBehaviour counting(const Device& device) {
  GemmBehaviour kernel;
  kernel.peak.count = 2e9 * static_cast<double>(device.multiprocessors);
  kernel.efficiency = 1;
  kernel.sustained = 1e6;
  kernel.feed.count = 1e15;
  return kernel;
}

Op product(std::vector<std::int64_t> rows, std::int64_t n, std::int64_t k, OpPass pass = OpPass::forward,
           Precision precision = Precision::bf16) {
  return make_grouped_gemm("test", pass, std::move(rows), n, k, precision);
}

/// Steps of depth times elements of a tile that the last block does.
double counted(const Op& op) {
  const Device device = h200();
  return 1e9 * to_seconds(grouped_kernel_time(op, grouped_work(op, device), device, counting(device)));
}

}  // namespace

TEST_CASE("A second wave of the own grouped kernel begins with one tile more than multiprocessors") {
  const std::int64_t tile = 128 * 256, depth = 1024;
  const double full = counted(product({128 * 66, 128 * 66}, 256, depth));
  CHECK(full == Approx(static_cast<double>(tile * depth)).epsilon(1e-3));
  const double more = counted(product({128 * 66, 128 * 66, 1}, 256, depth));
  CHECK(more > 1.2 * full);
}

TEST_CASE("Rows of an expert fill whole tiles of the own kernel, and experts without rows take none") {
  const double even = counted(product({128, 128}, 4096, 512));
  CHECK(counted(product({127, 1}, 4096, 512)) == Approx(even));
  CHECK(counted(product({128, 0, 128, 0}, 4096, 512)) == Approx(even));
}

TEST_CASE("Of a weight gradient the busiest block counts, as if all tiles were handed out one by one") {
  const std::vector<std::int64_t> rows{700, 0, 64, 65, 3000, 128, 1900, 10, 450};
  const Op op = product(rows, 2048, 1536, OpPass::backward_weight);
  const std::int64_t blocks = h200().multiprocessors;
  double expected = 1e300;  // of the tile that the kernel chooses, which is one of these
  for (const auto& [tile_rows, tile_columns] : {std::pair(128, 256), {128, 128}, {64, 256}}) {
    std::vector<double> depth(static_cast<std::size_t>(blocks));
    std::size_t next = 0;
    for (const std::int64_t own : rows) {
      const int tiles = own == 0 ? 0 : 2048 / tile_rows * (1536 / tile_columns);
      for (int tile = 0; tile < tiles; ++tile, ++next)
        depth[next % depth.size()] += static_cast<double>((own + 63) / 64 * 64);
    }
    const double busiest = *std::max_element(depth.begin(), depth.end()) * tile_rows * tile_columns;
    if (std::abs(busiest - counted(op)) < 1e-3 * busiest) expected = busiest;
  }
  CHECK(counted(op) == Approx(expected).epsilon(1e-3));
}

TEST_CASE("The own grouped kernel serves rows in whole 16 bytes, and in fp8 no weight gradients") {
  CHECK(serves_grouped(product({8, 8}, 1024, 768)));
  CHECK_FALSE(serves_grouped(product({8, 8}, 1020, 768)));
  CHECK(serves_grouped(product({8, 8}, 1024, 776)));
  CHECK_FALSE(serves_grouped(product({8, 8}, 1024, 776, OpPass::forward, Precision::fp8)));
  CHECK(serves_grouped(product({8, 8}, 1024, 768, OpPass::backward_input, Precision::fp8)));
  CHECK_FALSE(serves_grouped(product({8, 8}, 1024, 768, OpPass::backward_weight, Precision::fp8)));
  CHECK_FALSE(serves_grouped(make_gemm("test", OpPass::forward, 8, 1024, 768, Precision::bf16)));
}
