// An attention core of one context-parallel rank as the kernels that compute it.
#pragma once

#include <vector>

#include "models/transformer/layer_ops.hpp"

namespace moesim {

/// The kernels of a core, in the order of the ring: `whole` is the core without context parallelism. Each
/// rank has chunks i and 2 c - 1 - i of the 2 c of a sequence (zigzag, as in Llama 3, arXiv 2407.21783,
/// section 3.3.2), so ranks have equal causal work; c times the FLOPs of these kernels are those of `whole`.
///
/// Without a window they are those of Transformer Engine (pytorch/attention/dot_product_attention/
/// context_parallel.py). In a ring one for each block of keys: of the own block the causal half; of a block
/// from further ahead the half of its keys that both chunks see; of one from behind the half of queries that
/// see it. All three have the same pairs. With all keys gathered one for each chunk, which attends to what is
/// before it. Rank i = c / 2 stands for all.
///
/// With a window, one kernel for each chunk in either exchange, with the keys that the mean query of the
/// whole sequence sees: the first chunk has less work than others.
std::vector<Op> core_kernels(OpPass pass, const Share& share, const AttentionShape& whole);

}  // namespace moesim
