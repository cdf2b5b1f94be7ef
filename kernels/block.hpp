// Whole mixture-of-experts blocks of known models on one device, forward and backward, from the kernels and
// library calls of this program: what a prediction from single measurements is checked against.
#pragma once

#include <string>
#include <vector>

#include "bench.hpp"

namespace measure {

/// The sizes of one block.
struct BlockShape {
  std::string name;
  Int hidden, heads, kv_heads, head_dim, value_head_dim;
  Int query_rank = 0, key_rank = 0, rotary_dim = 0;  ///< latent attention; 0: plain
  bool head_norms = false;
  Int experts, top_k, expert_width, shared_width = 0;
};

/// Mixtral-8x7B (arXiv 2401.04088), Qwen3-30B-A3B (arXiv 2505.09388), DeepSeek-V3 (arXiv 2412.19437) with 32
/// experts.
std::vector<BlockShape> known_blocks();

/// One direction of a block at one size: its time, and the operations it is made of.
struct BlockTime {
  std::string block, pass;
  bool in_loop = false;  ///< at the clock to which a loop settles; else rested, at full clock
  Int tokens = 0, sequence = 0;
  Timing timing;
  std::vector<Shape> shapes;
};

/// Both directions. Throws OutOfMemory where it does not fit.
std::vector<BlockTime> measure_block(Bench& bench, const BlockShape& shape, Int tokens, Int sequence);

}  // namespace measure
