// What one device of a pipeline rank holds from step to step.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "models/base/at.hpp"
#include "sim/graph/task_graph.hpp"
#include "sim/scenario/scenario.hpp"

namespace moesim {

class ExpertLoads;

/// Parameters by what they belong to. Embedding includes the head, feed_forward the shared experts.
enum class HeldPart : std::uint8_t { attention, router, feed_forward, embedding, norm, experts };
inline constexpr std::size_t held_part_count = 6;
inline constexpr std::array<std::string_view, held_part_count> held_part_names{
    "attention", "router", "feed_forward", "embedding", "norm", "experts"};

/// The tensors that parameters are in.
struct HeldTensors {
  std::int64_t matrices = 0, rest = 0;  ///< of layers; norms, biases, embedding and head
  std::int64_t largest = 0;             ///< elements of the largest
  std::int64_t factors = 0;             ///< rows and columns of matrices, elements of vectors
  HeldTensors& operator+=(const HeldTensors& more);
  friend bool operator==(const HeldTensors&, const HeldTensors&) = default;
};

/// Parameters on one device, in elements.
struct Holdings {
  std::array<std::int64_t, held_part_count> parts{};
  HeldTensors tensors, expert_tensors;
  std::int64_t narrow = 0, narrow_experts = 0;  ///< of both, operands of products in fp8 or fp4
  std::int64_t& of(HeldPart part) { return at(parts, part); }
  std::int64_t of(HeldPart part) const { return at(parts, part); }
  std::int64_t experts() const {
    return of(HeldPart::experts);
  }                                 ///< also held by the expert-data-parallel ranks
  std::int64_t replicated() const;  ///< also held by every data-parallel rank
  std::int64_t rest() const {
    return of(HeldPart::embedding) + of(HeldPart::norm);
  }  ///< of the replicated ones, those that are no matrices of layers
  std::int64_t total() const { return replicated() + experts(); }
  std::int64_t of_scope(bool is_of_experts) const { return is_of_experts ? experts() : replicated(); }
  std::int64_t narrow_of(bool is_of_experts) const { return is_of_experts ? narrow_experts : narrow; }
  Holdings& operator+=(const Holdings& more);
};

/// Attention of a layer, with all norms of the layer.
Holdings attention_holdings(const Scenario& scenario, std::int64_t layer);
/// Router, dense or shared feed-forward and experts of a layer.
Holdings feed_forward_holdings(const Scenario& scenario, std::int64_t layer);
/// What comes before the first layer.
Holdings embedding_holdings(const Scenario& scenario);
/// What comes after the last layer: norms and head, and a copy of the word embedding where embedding_ranks()
/// are.
Holdings head_holdings(const Scenario& scenario);
/// The same for a last stage that is apart from the first, or is not.
Holdings head_holdings(const Scenario& scenario, bool is_apart);
/// Elements on one device of the copy of the word embedding that a last stage needs where it does not stand
/// on the rank of a first one: for a tied head, for multi-token prediction (Megatron-LM's embedding group),
/// or for both; else 0.
std::int64_t embedding_copy(const Scenario& scenario);
/// The first and the last pipeline rank, where the latter has a copy of the embedding: the two sum its
/// gradients.
std::optional<std::array<std::int64_t, 2>> embedding_ranks(const Scenario& scenario);
/// Of one of the blocks of a layer (attention, feed_forward), or of an end of the model (embedding, head).
Holdings block_holdings(const Scenario& scenario, Activity block, std::int64_t layer);
/// Parameters that one device of a pipeline rank holds, over all its chunks.
Holdings holdings(const Scenario& scenario, std::int64_t pipeline_rank);

/// Gradients of one expert of one layer, summed over the ranks of an expert group that hold its copies.
struct CopySum {
  std::vector<std::int64_t> ranks;
  Bytes gradients;
};
/// The sums that the ranks of an expert group owe each other after the last pass, for all stages of a
/// pipeline rank. Copies on one and the same rank need none.
std::vector<CopySum> copy_sums(const Scenario& scenario, const ExpertLoads* loads,
                               std::int64_t pipeline_rank);

}  // namespace moesim
