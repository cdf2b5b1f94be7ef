// Ops as separate kernels, where the software has no fused one.
#pragma once

#include <vector>

#include "models/transformer/op.hpp"

namespace moesim {

/// One product for each head of each sequence of an attention op: `rows` x `width` over `depth`.
Op product_of_heads(const Op& attention, std::int64_t rows, std::int64_t width, std::int64_t depth,
                    Precision precision = Precision::bf16);

/// The kernels that stand for an attention op: batched products over the whole square of scores, masked or
/// not, and softmax and dropout, which read and write the scores in bf16 (Korthikanti et al., arXiv
/// 2205.05198, section 4.1, counts what they keep).
std::vector<Op> separate_attention(const Op& attention);

/// A product for each expert that has rows, as Transformer Engine runs a grouped product with cuBLAS.
std::vector<Op> separate_products(const Op& grouped);

/// A norm's backward as two kernels: the second, for weights, reads gradient and input once more.
Op norm_with_weights_apart(Op norm);

/// Rows added to the tokens that they belong to by a scatter: scaled one by one, the sums set to zero, each
/// element added atomically.
Op scattered(Op rows);

/// Rows gathered one by one for their places: each is read as often as it is written.
Op gathered(Op rows);

}  // namespace moesim
