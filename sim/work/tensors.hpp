// The tensors in which a model's parameters are held, where software sends them one by one.
#pragma once

#include <cstdint>
#include <vector>

#include "sim/graph/activity.hpp"
#include "sim/scenario/scenario.hpp"

namespace moesim {

/// Elements of each tensor on one device, in the order in which backward comes to their gradients.
struct BlockTensors {
  std::vector<std::int64_t> replicated, experts;
  const std::vector<std::int64_t>& of(bool is_of_experts) const {
    return is_of_experts ? experts : replicated;
  }
  std::int64_t count() const { return std::ssize(replicated) + std::ssize(experts); }
};

/// Of one of the blocks of a layer (attention, feed_forward), or of an end of the model (embedding, head).
/// Norms and biases stand last. Sums are those of block_holdings.
BlockTensors block_tensors(const Scenario& scenario, Activity block, std::int64_t layer);

}  // namespace moesim
