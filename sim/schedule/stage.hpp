// Where a pass belongs in the model, and which pass of which stage it waits for.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "models/base/at.hpp"
#include "sim/schedule/order.hpp"

namespace moesim {

/// The way of the slot's microbatch through the ranks.
const std::vector<Place>& chain_of(const Order& order, const Slot& slot);

/// The stage of the model that the slot's chunk on that rank holds, counted along its chain.
std::size_t stage_of(const Order& order, std::int64_t rank, const Slot& slot);

/// The same from a table, for whom a walk along the chain is too slow.
class StageTable {
 public:
  explicit StageTable(const Order& order);
  std::size_t stage_of(std::size_t rank, const Slot& slot) const {
    const std::size_t chain = at(order_.chain_of_microbatch, slot.microbatch);
    return stages_[(chain * order_.ranks.size() + rank) * chunks_ + static_cast<std::size_t>(slot.chunk)];
  }

 private:
  const Order& order_;
  std::size_t chunks_;
  std::vector<std::size_t> stages_;  ///< by chain, rank and chunk
};

/// A stage of the model on a pipeline rank.
struct HeldStage {
  std::size_t stage = 0;  ///< along its chain
  std::int16_t chunk = 0;
  bool is_first = false, is_last = false;  ///< of the model: with the embedding, with the head
};
/// The stages that a pipeline rank holds, chain by chain, each in the order of the forward pass.
std::vector<HeldStage> stages_of(const Chains& chains, std::int64_t rank);

/// What a pass of one stage makes and a pass of the next one, or of the same, waits for.
struct Need {
  Pass pass = Pass::forward;  ///< that makes it: a forward, or what makes the input gradient
  std::int32_t microbatch = 0;
  std::size_t from_stage = 0, to_stage = 0;
  Place from, to;
  bool is_gradient() const { return pass != Pass::forward; }
  bool crosses_stages() const { return from_stage != to_stage; }
  bool crosses_ranks() const { return from.rank != to.rank; }
};
/// What a slot waits for: a forward for the stage before, a backward for the gradient of the stage behind or,
/// in the last stage, for its own forward, a weight gradient for its own input gradient. The first stage's
/// forward waits for nobody.
std::optional<Need> needs_of(const Order& order, std::int64_t rank, const Slot& slot);
/// The same for who knows the slot's stage.
std::optional<Need> needs_in_stage(const Order& order, std::size_t stage, const Slot& slot);
/// The need of another stage that the slot serves, if there is one.
std::optional<Need> served_by(const Order& order, std::int64_t rank, const Slot& slot);

}  // namespace moesim
