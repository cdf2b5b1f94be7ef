// DeepSeek's expert-parallel load balancer as its public code decides (github.com/deepseek-ai/EPLB,
// rebalance_experts), written anew as a reference: what is compared with it shares no line with it.
#pragma once

#include <cstdint>
#include <vector>

namespace moesim {

/// What is balanced: as rebalance_experts() is called, for one layer.
struct EplbCall {
  std::vector<double> load;  ///< of each expert
  std::int64_t slots = 1, groups = 1, nodes = 1, ranks = 1;
};

/// What came of it.
struct EplbResult {
  double busiest = 0;       ///< load of the rank that has most
  bool is_doubled = false;  ///< two copies of one expert on one rank
};

/// Hierarchical where groups divide by nodes, else global over all ranks.
EplbResult eplb(const EplbCall& call);

}  // namespace moesim
