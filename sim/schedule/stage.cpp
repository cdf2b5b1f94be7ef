#include "sim/schedule/stage.hpp"

#include <algorithm>

#include "models/base/at.hpp"
#include "models/base/error.hpp"

namespace moesim {

const std::vector<Place>& chain_of(const Order& order, const Slot& slot) {
  return order.chains[at(order.chain_of_microbatch, slot.microbatch)];
}

std::size_t stage_of(const Order& order, std::int64_t rank, const Slot& slot) {
  const std::vector<Place>& chain = chain_of(order, slot);
  const auto here = std::find_if(chain.begin(), chain.end(), [&](const Place& place) {
    return place.rank == rank && place.chunk == slot.chunk;
  });
  ensure(here != chain.end(), "the rank holds the slot's chunk");
  return static_cast<std::size_t>(here - chain.begin());
}

StageTable::StageTable(const Order& order)
    : order_(order), chunks_(static_cast<std::size_t>(chunks_of(order.chains))) {
  stages_.assign(order.chains.size() * order.ranks.size() * chunks_, 0);
  for (std::size_t c = 0; c < order.chains.size(); ++c) {
    for (std::size_t stage = 0; stage < order.chains[c].size(); ++stage) {
      const Place& place = order.chains[c][stage];
      const std::size_t rank = c * order.ranks.size() + static_cast<std::size_t>(place.rank);
      stages_[rank * chunks_ + static_cast<std::size_t>(place.chunk)] = stage;
    }
  }
}

std::vector<HeldStage> stages_of(const Chains& chains, std::int64_t rank) {
  std::vector<HeldStage> held;
  for (const std::vector<Place>& chain : chains) {
    for (std::size_t stage = 0; stage < chain.size(); ++stage) {
      if (chain[stage].rank == rank)
        held.push_back({stage, chain[stage].chunk, stage == 0, stage + 1 == chain.size()});
    }
  }
  return held;
}

std::optional<Need> needs_in_stage(const Order& order, std::size_t stage, const Slot& slot) {
  const std::vector<Place>& chain = chain_of(order, slot);
  const auto made_by = [&](Pass pass, std::size_t from) {
    return Need{pass, slot.microbatch, from, stage, chain[from], chain[stage]};
  };
  if (slot.pass == Pass::backward_weight) return made_by(Pass::backward_input, stage);
  if (slot.pass != Pass::forward)
    return stage + 1 == chain.size() ? made_by(Pass::forward, stage)
                                     : made_by(Pass::backward_input, stage + 1);
  if (stage == 0) return std::nullopt;
  return made_by(Pass::forward, stage - 1);
}

std::optional<Need> needs_of(const Order& order, std::int64_t rank, const Slot& slot) {
  return needs_in_stage(order, stage_of(order, rank, slot), slot);
}

std::optional<Need> served_by(const Order& order, std::int64_t rank, const Slot& slot) {
  if (slot.pass == Pass::backward_weight) return std::nullopt;
  const std::size_t stage = stage_of(order, rank, slot);
  const std::size_t end = slot.pass == Pass::forward ? chain_of(order, slot).size() - 1 : 0;
  if (stage == end) return std::nullopt;
  return needs_in_stage(order, slot.pass == Pass::forward ? stage + 1 : stage - 1, slot);
}

}  // namespace moesim
