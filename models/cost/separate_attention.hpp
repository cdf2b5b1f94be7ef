// Attention of separate kernels, as Megatron-LM ran it before fused ones.
#pragma once

#include <vector>

#include "models/transformer/op.hpp"

namespace moesim {

/// The kernels that stand for an attention op: batched products over the whole square of scores, masked or not,
/// and softmax and dropout, which read and write the scores in bf16 (Korthikanti et al., arXiv 2205.05198,
/// section 4.1, counts what they keep).
std::vector<Op> separate_attention(const Op& attention);

}  // namespace moesim
