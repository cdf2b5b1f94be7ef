#include "models/optimizer/newton_schulz.hpp"

#include <algorithm>

namespace moesim {
namespace {

constexpr double bf16 = 2;

/// Of the shorter side; `adds` where it adds to a matrix of the result's shape, which it reads.
Op product(std::int64_t m, std::int64_t n, std::int64_t k, bool adds) {
  Op op = make_gemm("Newton-Schulz", OpPass::forward, m, n, k, Precision::bf16);
  op.module = Module::update;
  op.kernel_class = KernelClass::update;
  if (adds) op.bytes += size_of(Precision::bf16) * (m * n);
  return op;
}

}  // namespace

std::vector<Repeated> newton_schulz(std::int64_t rows, std::int64_t columns, std::int64_t iterations,
                                    Walk walk) {
  const std::int64_t shorter = std::min(rows, columns), longer = std::max(rows, columns);
  const bool by_steps = walk != Walk::fused;
  const auto times = static_cast<double>(iterations);
  std::vector<Repeated> ops;
  const auto stream = [&](std::int64_t m, std::int64_t n, double bytes, UpdateStep step, double count) {
    if (count == 0) return;
    Op op =
        make_streaming(OpKind::elementwise, "Newton-Schulz", OpPass::forward, m, n, bytes, Module::update);
    op.walk = Walk::tensors;
    op.update_step = step;
    ops.push_back({op, count});
  };
  stream(shorter, longer, bf16, UpdateStep::sum, 1);
  stream(shorter, longer, 2 * bf16, UpdateStep::scale, 1);
  const double across = by_steps && rows > columns ? 1 : 0;
  stream(shorter, longer, 2 * bf16, UpdateStep::transposed, 2 * across);
  if (by_steps) {
    stream(shorter, shorter, 2 * bf16, UpdateStep::map, times);
    stream(shorter, longer, 2 * bf16, UpdateStep::map, times - across);
  }
  ops.push_back({product(shorter, shorter, longer, false), times});
  ops.push_back({product(shorter, shorter, shorter, true), times});
  ops.push_back({product(shorter, longer, shorter, true), times});
  return ops;
}

}  // namespace moesim
