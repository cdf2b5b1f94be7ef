#include "models/transformer/op.hpp"

#include <algorithm>
#include <numeric>
#include <utility>

#include "models/base/real.hpp"
#include "models/base/whole.hpp"

namespace moesim {
namespace {

/// Bytes of one element that a product writes: bf16 for fp8 operands; weight gradients are read and written
/// in fp32.
double output_bytes(OpPass pass, Precision precision) {
  if (pass == OpPass::backward_weight) return 2 * real(size_of(Precision::fp32).count);
  return std::max(bytes_each(precision), bytes_each(Precision::bf16));
}

KernelClass class_of(OpKind kind, Module module) {
  if (module == Module::loss) return KernelClass::loss;
  if (module == Module::update) return KernelClass::update;
  if (kind == OpKind::permute || kind == OpKind::unpermute || module == Module::embedding)
    return KernelClass::gather_scatter;
  return KernelClass::streaming;
}

/// Query-key pairs of one head and sequence. A causal query at i sees min(i, w) keys; the integral over i,
/// from the first query to the last key, counts half of the diagonal, so that the whole sequence comes to
/// half its square.
double attended_pairs(const AttentionShape& shape) {
  const double keys = real(shape.kv_sequence);
  const double window = shape.window > 0 ? std::min(real(shape.window), keys) : keys;
  if (!shape.causal) return real(shape.sequence) * window;
  const double first = std::max(0.0, keys - real(shape.sequence));
  const double growing = std::min(first, window);  // queries from there to the window see fewer than it
  return (window * window - growing * growing) / 2 + (keys - std::max(first, window)) * window;
}

}  // namespace

Op make_gemm(std::string_view name, OpPass pass, std::int64_t m, std::int64_t n, std::int64_t k,
             Precision precision) {
  Op op;
  op.kind = OpKind::gemm;
  op.module = Module::projection;
  op.kernel_class = KernelClass::products;
  op.name = name;
  op.pass = pass;
  op.precision = precision;
  op.m = m;
  op.n = n;
  op.k = k;
  op.flops = {2 * real(m) * real(n) * real(k)};
  const double operands = real(m) * real(k) + real(k) * real(n);
  op.bytes = from_bytes(operands * bytes_each(precision) + real(m) * real(n) * output_bytes(pass, precision));
  return op;
}

Op make_grouped_gemm(std::string_view name, OpPass pass, std::vector<std::int64_t> rows, std::int64_t n,
                     std::int64_t k, Precision precision) {
  Op op;
  op.kind = OpKind::grouped_gemm;
  op.module = Module::experts;
  op.kernel_class = KernelClass::grouped;
  op.name = name;
  op.pass = pass;
  op.precision = precision;
  op.n = n;
  op.k = k;
  op.rows_are_depth = pass == OpPass::backward_weight;
  const double total = real(std::accumulate(rows.begin(), rows.end(), std::int64_t{0}, sum_of));
  const double busy = real(std::count_if(rows.begin(), rows.end(), [](std::int64_t row) { return row > 0; }));
  const double operand = bytes_each(precision);
  const double output = output_bytes(pass, precision);
  const double weights = busy * real(n) * real(k);
  op.flops = {2 * total * real(n) * real(k)};
  op.bytes = from_bytes(op.rows_are_depth ? total * (real(n) + real(k)) * operand + weights * output
                                          : (total * real(k) + weights) * operand + total * real(n) * output);
  op.rows = std::move(rows);
  return op;
}

Op make_attention(OpPass pass, const AttentionShape& shape, Precision precision) {
  Op op;
  op.kind = OpKind::attention;
  op.module = Module::core;
  op.kernel_class = KernelClass::attention;
  op.name = "attention";
  op.pass = pass;
  op.precision = precision;
  op.batch = shape.batch;
  op.heads = shape.heads;
  op.kv_heads = shape.kv_heads;
  op.sequence = shape.sequence;
  op.kv_sequence = shape.kv_sequence;
  op.head_dim = shape.head_dim;
  op.value_head_dim = shape.value_head_dim;
  op.window = shape.window;
  op.causal = shape.causal;
  op.dropout = shape.dropout;
  op.sinks = shape.sinks;
  const bool forward = pass == OpPass::forward;
  const double products = forward ? 2 : 4;
  op.flops = {products * real(shape.batch) * real(shape.heads) * attended_pairs(shape) *
              (real(shape.head_dim) + real(shape.value_head_dim))};
  const double queries = real(shape.batch) * real(shape.sequence) * real(shape.heads);
  const double keys = real(shape.batch) * real(shape.kv_sequence) * real(shape.kv_heads);
  const double operands =
      (queries + keys) * (real(shape.head_dim) + real(shape.value_head_dim)) * bytes_each(precision);
  // Forward writes the log-sum-exp of each row; backward reads it, and writes and reads the row sums of dO *
  // O.
  op.bytes = from_bytes(forward ? operands + 4 * queries : 2 * operands + 12 * queries);
  op.kernels = forward ? 1 : 3;  // row sums, gradients, conversion of dQ from fp32
  if (!forward && shape.sinks) {
    // cuDNN sums up the gradient of each head's sink, out of both numbers of a row, in a kernel of its own
    // (NVIDIA/TransformerEngine, issue 3249).
    op.bytes += from_bytes(8 * queries);
    op.kernels += 1;
  }
  return op;
}

Op make_streaming(OpKind kind, std::string_view name, OpPass pass, std::int64_t rows, std::int64_t width,
                  double bytes_per_element, Module module) {
  Op op;
  op.kind = kind;
  op.module = module;
  op.kernel_class = class_of(kind, module);
  op.name = name;
  op.pass = pass;
  op.m = rows;
  op.n = width;
  op.bytes = from_bytes(real(rows) * real(width) * bytes_per_element);
  return op;
}

}  // namespace moesim
