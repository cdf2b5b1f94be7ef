#include "models/routing/expert_moves.hpp"

#include <algorithm>
#include <span>

#include "models/base/error.hpp"

namespace moesim {
namespace {

using Slots = std::span<const std::int32_t>;

/// Block number `number` of `blocks` equal ones.
Slots block_of(const std::vector<std::int32_t>& slots, std::int64_t blocks, std::int64_t number) {
  const std::size_t size = slots.size() / static_cast<std::size_t>(blocks);
  return Slots(slots).subspan(static_cast<std::size_t>(number) * size, size);
}

bool holds(Slots slots, std::int32_t expert) {
  return std::find(slots.begin(), slots.end(), expert) != slots.end();
}

std::int64_t in_common(Slots one, Slots other) {
  return std::count_if(one.begin(), one.end(), [&](std::int32_t expert) { return holds(other, expert); });
}

/// For each block before, the one after that takes its place.
std::vector<std::int64_t> matched(const std::vector<std::int32_t>& before,
                                  const std::vector<std::int32_t>& after, std::int64_t blocks) {
  struct Pair {
    std::int64_t common, before, after;
  };
  std::vector<Pair> pairs;
  for (std::int64_t b = 0; b < blocks; ++b) {
    for (std::int64_t a = 0; a < blocks; ++a)
      pairs.push_back({in_common(block_of(after, blocks, a), block_of(before, blocks, b)), b, a});
  }
  std::stable_sort(pairs.begin(), pairs.end(),
                   [](const Pair& one, const Pair& other) { return one.common > other.common; });
  constexpr std::int64_t none = -1;
  std::vector<std::int64_t> taken(static_cast<std::size_t>(blocks), none);
  std::vector<bool> is_given(static_cast<std::size_t>(blocks), false);
  for (const Pair& pair : pairs) {
    if (at(taken, pair.before) != none || is_given[static_cast<std::size_t>(pair.after)]) continue;
    at(taken, pair.before) = pair.after;
    is_given[static_cast<std::size_t>(pair.after)] = true;
  }
  return taken;
}

std::vector<std::int32_t> handed_out(const std::vector<std::int32_t>& before,
                                     const std::vector<std::int32_t>& after, std::int64_t blocks) {
  std::vector<std::int32_t> slots;
  for (const std::int64_t from : matched(before, after, blocks)) {
    const Slots block = block_of(after, blocks, from);
    slots.insert(slots.end(), block.begin(), block.end());
  }
  return slots;
}

}  // namespace

ExpertPlacement keeping_places(const ExpertPlacement& before, const ExpertPlacement& after,
                               std::int64_t nodes) {
  ensure(before.ranks == after.ranks && before.expert_of_slot.size() == after.expert_of_slot.size() &&
             after.ranks % nodes == 0,
         "placements are of the same ranks and slots");
  const std::vector<std::int32_t> by_node = handed_out(before.expert_of_slot, after.expert_of_slot, nodes);
  ExpertPlacement kept{.ranks = after.ranks, .expert_of_slot = {}};
  for (std::int64_t node = 0; node < nodes; ++node) {
    const Slots had = block_of(before.expert_of_slot, nodes, node);
    const Slots gets = block_of(by_node, nodes, node);
    const std::vector<std::int32_t> slots =
        handed_out({had.begin(), had.end()}, {gets.begin(), gets.end()}, after.ranks / nodes);
    kept.expert_of_slot.insert(kept.expert_of_slot.end(), slots.begin(), slots.end());
  }
  return kept;
}

std::vector<ExpertMove> moves_between(const ExpertPlacement& before, const ExpertPlacement& after,
                                      std::int64_t nodes) {
  ensure(before.ranks == after.ranks && after.ranks % nodes == 0, "placements are of the same ranks");
  const std::int64_t per_node = after.ranks / nodes;
  std::vector<std::int64_t> sent(static_cast<std::size_t>(before.ranks), 0);
  const auto held = [&](std::int64_t rank) { return block_of(before.expert_of_slot, before.ranks, rank); };
  const auto source_of = [&](std::int32_t expert, std::int64_t to) {
    std::int64_t best = -1;
    for (std::int64_t rank = 0; rank < before.ranks; ++rank) {
      if (!holds(held(rank), expert)) continue;
      const bool near = rank / per_node == to / per_node;
      const bool best_near = best >= 0 && best / per_node == to / per_node;
      if (best < 0 || (near != best_near ? near : at(sent, rank) < at(sent, best))) best = rank;
    }
    ensure(best >= 0, "every expert is held somewhere");
    return best;
  };
  std::vector<ExpertMove> moves;
  for (std::int64_t to = 0; to < after.ranks; ++to) {
    const Slots gets = block_of(after.expert_of_slot, after.ranks, to);
    for (std::size_t slot = 0; slot < gets.size(); ++slot) {
      if (holds(held(to), gets[slot]) || holds(gets.first(slot), gets[slot])) continue;
      moves.push_back({.expert = gets[slot], .from = source_of(gets[slot], to), .to = to});
      ++at(sent, moves.back().from);
    }
  }
  return moves;
}

}  // namespace moesim
