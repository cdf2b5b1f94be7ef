#include "block.hpp"

namespace measure {

std::vector<BlockShape> known_blocks() {
  return {
      {.name = "mixtral-8x7b",
       .hidden = 4096,
       .heads = 32,
       .kv_heads = 8,
       .head_dim = 128,
       .value_head_dim = 128,
       .experts = 8,
       .top_k = 2,
       .expert_width = 14336},
      {.name = "qwen3-30b-a3b",
       .hidden = 2048,
       .heads = 32,
       .kv_heads = 4,
       .head_dim = 128,
       .value_head_dim = 128,
       .head_norms = true,
       .experts = 128,
       .top_k = 8,
       .expert_width = 768},
      {.name = "deepseek-v3-32-experts",
       .hidden = 7168,
       .heads = 128,
       .kv_heads = 128,
       .head_dim = 192,
       .value_head_dim = 128,
       .query_rank = 1536,
       .key_rank = 512,
       .rotary_dim = 64,
       .experts = 32,
       .top_k = 8,
       .expert_width = 2048,
       .shared_width = 2048},
  };
}

}  // namespace measure
