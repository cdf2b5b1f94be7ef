#include "models/transformer/core_kernels.hpp"

#include <algorithm>
#include <cmath>

#include "models/transformer/block.hpp"

namespace moesim {
namespace {

/// A core shape with so many queries and keys.
AttentionShape of_size(AttentionShape shape, std::int64_t queries, std::int64_t keys, bool causal) {
  shape.sequence = queries;
  shape.kv_sequence = keys;
  shape.causal = causal;
  return shape;
}

/// Every query of the rank sees as many keys as the mean one.
std::vector<Op> windowed(OpPass pass, const AttentionShape& whole, std::int64_t context) {
  const Op all = make_attention(pass, whole, Precision::bf16);
  const double window = static_cast<double>(whole.window);
  const double seen =
      whole.causal ? window - window * window / (2 * static_cast<double>(whole.kv_sequence)) : window;
  AttentionShape chunk = whole;
  chunk.window = std::max<std::int64_t>(1, std::llround(seen));
  const std::int64_t queries = part_of(whole.sequence, 2 * context);
  Op kernel =
      make_attention(pass, of_size(chunk, queries, queries + chunk.window, whole.causal), Precision::bf16);
  kernel.flops.count = all.flops.count / static_cast<double>(2 * context);
  return {kernel, kernel};
}

/// Blocks of keys of the own rank, of those ahead of it, and of those behind.
std::vector<AttentionShape> causal_ring(const AttentionShape& whole, std::int64_t context) {
  const std::int64_t chunk = part_of(whole.sequence, 2 * context);
  std::vector<AttentionShape> kernels{of_size(whole, 2 * chunk, 2 * chunk, true)};
  for (std::int64_t block = 1; block < context; ++block) {
    kernels.push_back(block <= context / 2 ? of_size(whole, 2 * chunk, chunk, false)
                                           : of_size(whole, chunk, 2 * chunk, false));
  }
  return kernels;
}

/// Each of the two chunks attends to its prefix of the sequence.
std::vector<AttentionShape> causal_prefixes(const AttentionShape& whole, std::int64_t context) {
  const std::int64_t chunk = part_of(whole.sequence, 2 * context);
  const std::int64_t first = context / 2;
  return {of_size(whole, chunk, (first + 1) * chunk, true),
          of_size(whole, chunk, (2 * context - first) * chunk, true)};
}

std::vector<AttentionShape> shapes(const Share& share, const AttentionShape& whole) {
  const bool is_ring = share.context_exchange == ContextExchange::ring;
  if (whole.causal)
    return is_ring ? causal_ring(whole, share.context) : causal_prefixes(whole, share.context);
  const std::int64_t queries = part_of(whole.sequence, share.context);
  if (!is_ring) return {of_size(whole, queries, whole.kv_sequence, false)};
  const std::int64_t keys = part_of(whole.kv_sequence, share.context);
  const auto blocks = static_cast<std::size_t>(share.context);
  return std::vector<AttentionShape>(blocks, of_size(whole, queries, keys, false));
}

}  // namespace

std::vector<Op> core_kernels(OpPass pass, const Share& share, const AttentionShape& whole) {
  if (share.context == 1) return {make_attention(pass, whole, Precision::bf16)};
  if (whole.window > 0 && whole.window < whole.kv_sequence) return windowed(pass, whole, share.context);
  AttentionShape open = whole;
  open.window = 0;
  std::vector<Op> kernels;
  for (const AttentionShape& shape : shapes(share, open))
    kernels.push_back(make_attention(pass, shape, Precision::bf16));
  return kernels;
}

}  // namespace moesim
