#include "sim/work/placeholders.hpp"

#include <algorithm>

#include "models/base/precision.hpp"

namespace moesim {

void add_weight_shapes(const std::vector<Op>& weight_gradients, std::vector<WeightShape>& shapes) {
  for (const Op& op : weight_gradients) {
    if (op.kind == OpKind::gemm) shapes.emplace_back(op.m, op.n);
    if (op.kind == OpKind::grouped_gemm) shapes.emplace_back(op.n, op.k);
  }
}

Bytes placeholder_bytes(std::vector<WeightShape> shapes) {
  std::sort(shapes.begin(), shapes.end());
  shapes.erase(std::unique(shapes.begin(), shapes.end()), shapes.end());
  std::int64_t elements = 0;
  for (const auto& [rows, columns] : shapes) elements += rows * columns;
  return size_of(Precision::bf16) * elements;
}

}  // namespace moesim
