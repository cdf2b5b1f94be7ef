// Which rank of an expert-parallel group holds which experts, copies of hot ones included.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "models/routing/loads.hpp"

namespace moesim {

/// Slots of experts, equally many on each rank, in rank order.
struct ExpertPlacement {
  std::int64_t ranks = 1;
  std::vector<std::int32_t> expert_of_slot;

  std::int64_t slots_per_rank() const { return static_cast<std::int64_t>(expert_of_slot.size()) / ranks; }
  std::int64_t copies_of(std::int64_t expert) const;
};

/// Experts in order, no copies: rank r holds the r-th of `ranks` equal blocks.
ExpertPlacement place_in_order(std::int64_t experts, std::int64_t ranks);

/// What place_balanced() is asked for.
struct BalanceTask {
  std::span<const double> load;  ///< of each expert, in any unit
  std::int64_t ranks = 1;        ///< divide experts + redundant
  std::int64_t nodes = 1;        ///< divide ranks
  std::int64_t groups = 1;       ///< equal, contiguous groups of experts, each kept on one node
  std::int64_t redundant = 0;    ///< slots of the whole group beyond one for each expert
};

/// As DeepSeek's expert-parallel load balancer (github.com/deepseek-ai/EPLB) does it: groups of experts
/// packed to nodes, then inside a node one copy after the other of the expert with the most load a copy, then
/// the slots packed to ranks, heaviest first. Where groups do not divide by nodes, all ranks are one node.
/// Every expert has a slot; copies of one are on different ranks unless they are more than the ranks of a
/// node. Without redundant slots the busiest rank has no more load than with place_in_order().
ExpertPlacement place_balanced(const BalanceTask& task);

/// Load of each rank where an expert's load is split evenly over its copies.
std::vector<double> rank_loads(std::span<const double> load, const ExpertPlacement& placement);

/// Rows of one layer and microbatch as ranks see them.
struct RankRows {
  std::int64_t ranks = 1;
  std::int64_t slots_per_rank = 1;
  std::vector<std::int64_t> slot_rows;  ///< of each slot, from all sources, as computed
  std::vector<std::int64_t> sent;       ///< [source][rank]

  /// Rows that a rank computes.
  std::int64_t of_rank(std::int64_t rank) const;
};

/// Splits rows over copies: an expert's rows from a source are divided evenly over its copies; of what does
/// not divide, copies get one each, beginning with copy number source modulo copies. With padded buffers
/// (loads.capacity) the buffers count, full or not. Rows are conserved.
RankRows rank_rows(const Loads& loads, const ExpertPlacement& placement);

}  // namespace moesim
