// Tokens of each expert of each layer over a step, where they differ.
#pragma once

#include <cstdint>
#include <vector>

#include "sim/work/work.hpp"

namespace moesim {

/// A layer with experts.
struct LayerTokens {
  std::int64_t layer = 0;
  std::vector<std::int64_t> of_experts;  ///< sums over the microbatches and expert groups that were routed
};

/// Nothing where the ranks of an expert group are alike.
std::vector<LayerTokens> expert_tokens(const Work& work);

}  // namespace moesim
