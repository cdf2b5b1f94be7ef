// Ops as separate kernels, where the software has no fused one.
#pragma once

#include <vector>

#include "models/transformer/op.hpp"

namespace moesim {

/// The kernels that stand for an attention op: batched products over the whole square of scores, masked or
/// not, and softmax and dropout, which read and write the scores in bf16 (Korthikanti et al., arXiv
/// 2205.05198, section 4.1, counts what they keep).
std::vector<Op> separate_attention(const Op& attention);

/// A product for each expert that has rows, as Transformer Engine runs a grouped product with cuBLAS.
std::vector<Op> separate_products(const Op& grouped);

}  // namespace moesim
