#include "models/software/apart.hpp"

#include <utility>

namespace moesim {
namespace {

/// The part of a fused product that has so many of its columns.
Op part_of(const Op& op, std::int64_t width) {
  if (op.kind == OpKind::grouped_gemm) {
    const bool sums = op.pass == OpPass::backward_input;
    return make_grouped_gemm(op.name, op.pass, op.rows, sums ? op.n : width, sums ? width : op.k,
                             op.precision);
  }
  const auto product = [&](std::int64_t m, std::int64_t n, std::int64_t k) {
    return make_gemm(op.name, op.pass, m, n, k, op.precision);
  };
  if (op.pass == OpPass::forward) return product(op.m, width, op.k);
  return op.pass == OpPass::backward_input ? product(op.m, op.n, width) : product(width, op.n, op.k);
}

}  // namespace

std::vector<Op> products_apart(const Op& op) {
  std::vector<Op> products;
  for (const std::int64_t width : op.columns) {
    if (width == 0) continue;
    Op& one = products.emplace_back(part_of(op, width));
    one.part = op.part;
  }
  if (products.empty()) products.push_back(op);
  return products;
}

}  // namespace moesim
