#include "models/cost/bounds.hpp"

#include <algorithm>

namespace moesim {

OpTime under(const Bounds& bounds) {
  const double longer = std::max(bounds.compute, bounds.memory);
  if (longer <= 0) return {};
  const double body = longer + bounds.unhidden * std::min(bounds.compute, bounds.memory);
  const Bound bound = bounds.overhead > body            ? Bound::launch
                      : bounds.compute >= bounds.memory ? Bound::compute
                                                        : Bound::memory;
  return {from_seconds(bounds.overhead + body), bound};
}

double launches(const Op& op, const Device& device) {
  return real(std::max<std::int64_t>(1, op.kernels)) *
         to_seconds(device.launch_overhead + device.kernel_floor);
}

double traffic(const Device& device, const Op& op) {
  const double least = real(op.bytes.count) / (device.memory_bandwidth.count * device.memory_efficiency);
  return least +
         std::min(least, real(std::max<std::int64_t>(1, op.kernels)) * to_seconds(device.memory_ramp));
}

double step_time(const GemmBehaviour& gemm, const Device& device, Tile tile, double element) {
  const double rate = gemm.peak.count / real(device.multiprocessors) * gemm.efficiency;
  return std::max(2 * real(tile.rows) * real(tile.columns) / rate,
                  real(tile.rows + tile.columns) * element / gemm.feed.count);
}

}  // namespace moesim
