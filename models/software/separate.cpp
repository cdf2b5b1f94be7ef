#include "models/software/separate.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "models/base/whole.hpp"

namespace moesim {
namespace {

// Bytes that a kernel moves for a score: softmax reads and writes it, backward reads its gradient too;
// dropout reads, writes and has a mask of one byte.
constexpr double softmax_bytes = 4, softmax_backward_bytes = 6, dropout_bytes = 5;

// Of one pass of a microbatch on one device: far beyond any model, and a list of as many rows is small.
constexpr std::int64_t most_products = 1'000'000;

Op over_scores(const Op& attention, std::int64_t scores, double bytes) {
  return make_streaming(OpKind::elementwise, attention.name, attention.pass, scores, 1, bytes);
}

}  // namespace

Op product_of_heads(const Op& attention, std::int64_t rows, std::int64_t width, std::int64_t depth,
                    Precision precision) {
  const std::int64_t copies = product_of({attention.batch, attention.heads});
  if (copies > most_products)
    throw RunError(fmt::format(
        "{} products of an attention without a fused kernel are more than can be simulated", copies));
  Op op = make_grouped_gemm(attention.name, OpPass::forward,
                            std::vector<std::int64_t>(static_cast<std::size_t>(copies), rows), width, depth,
                            precision);
  op.pass = attention.pass;
  return op;
}

std::vector<Op> separate_attention(const Op& attention) {
  const std::int64_t queries = attention.sequence;
  const std::int64_t keys = attention.kv_sequence > 0 ? attention.kv_sequence : queries;
  const std::int64_t head = attention.head_dim;
  const std::int64_t value = attention.value_head_dim > 0 ? attention.value_head_dim : head;
  const std::int64_t scores = product_of({attention.batch, attention.heads, queries, keys});
  std::vector<Op> kernels;
  const auto drop = [&] {
    if (attention.dropout) kernels.push_back(over_scores(attention, scores, dropout_bytes));
  };
  if (attention.pass == OpPass::forward) {
    kernels = {product_of_heads(attention, queries, keys, head),
               over_scores(attention, scores, softmax_bytes)};
    drop();
    kernels.push_back(product_of_heads(attention, queries, value, keys));
    return kernels;
  }
  kernels = {product_of_heads(attention, keys, value, queries),
             product_of_heads(attention, queries, keys, value)};
  drop();
  kernels.push_back(over_scores(attention, scores, softmax_backward_bytes));
  kernels.push_back(product_of_heads(attention, queries, head, keys));
  kernels.push_back(product_of_heads(attention, keys, head, queries));
  return kernels;
}

std::vector<Op> separate_products(const Op& grouped) {
  std::vector<Op> products;
  for (const std::int64_t rows : grouped.rows) {
    if (rows == 0) continue;
    products.push_back(
        grouped.rows_are_depth
            ? make_gemm(grouped.name, grouped.pass, grouped.n, grouped.k, rows, grouped.precision)
            : make_gemm(grouped.name, grouped.pass, rows, grouped.n, grouped.k, grouped.precision));
  }
  return products;
}

Op norm_with_weights_apart(Op norm) {
  const std::int64_t thirds = norm.bytes.count / 3, rest = norm.bytes.count % 3;
  norm.bytes = Bytes{thirds} * 5 + Bytes{rest * 5 / 3};
  norm.kernels = 2;
  return norm;
}

Op scattered(Op rows) {
  rows.bytes += Bytes{rows.pass == OpPass::forward ? 2 : -2} * product_of({rows.m, rows.n});
  rows.adds_atomically = true;
  return rows;
}

Op gathered(Op rows) {
  const auto top_k = static_cast<double>(std::max<std::int64_t>(1, rows.top_k));
  rows.bytes = from_bytes(2 * static_cast<double>(rows.bytes.count) / (1 + 1 / top_k));
  return rows;
}

}  // namespace moesim
