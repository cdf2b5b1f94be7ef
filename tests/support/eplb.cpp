#include "tests/support/eplb.hpp"

#include <algorithm>
#include <numeric>

namespace moesim {
namespace {

using Pack = std::vector<std::size_t>;  // numbers of what lies in it

/// balanced_packing: heaviest first into the least loaded pack that has room.
std::vector<Pack> packed(const std::vector<double>& weights, std::size_t count) {
  std::vector<std::size_t> by_weight(weights.size());
  std::iota(by_weight.begin(), by_weight.end(), std::size_t{0});
  std::stable_sort(by_weight.begin(), by_weight.end(),
                   [&](std::size_t a, std::size_t b) { return weights[a] > weights[b]; });
  std::vector<Pack> packs(count);
  std::vector<double> sums(count, 0.0);
  for (const std::size_t item : by_weight) {
    std::size_t least = count;
    for (std::size_t pack = 0; pack < count; ++pack) {
      if (packs[pack].size() < weights.size() / count && (least == count || sums[pack] < sums[least]))
        least = pack;
    }
    packs[least].push_back(item);
    sums[least] += weights[item];
  }
  return packs;
}

/// replicate_experts: the expert of each slot.
std::vector<std::size_t> replicated(const std::vector<double>& load, std::size_t slots) {
  std::vector<std::size_t> expert_of_slot(load.size());
  std::iota(expert_of_slot.begin(), expert_of_slot.end(), std::size_t{0});
  std::vector<double> copies(load.size(), 1.0);
  while (expert_of_slot.size() < slots) {
    std::size_t hottest = 0;
    for (std::size_t e = 1; e < load.size(); ++e) {
      if (load[e] / copies[e] > load[hottest] / copies[hottest]) hottest = e;
    }
    ++copies[hottest];
    expert_of_slot.push_back(hottest);
  }
  return expert_of_slot;
}

/// Slots of one node's experts over its ranks.
void place_on_ranks(const std::vector<double>& load, std::size_t slots, std::size_t ranks,
                    EplbResult& result) {
  const std::vector<std::size_t> expert_of_slot = replicated(load, slots);
  std::vector<double> weights;
  for (const std::size_t expert : expert_of_slot) {
    weights.push_back(load[expert] /
                      static_cast<double>(std::count(expert_of_slot.begin(), expert_of_slot.end(), expert)));
  }
  for (const Pack& rank : packed(weights, ranks)) {
    double sum = 0;
    std::vector<std::size_t> held;
    for (const std::size_t slot : rank) {
      sum += weights[slot];
      if (std::count(held.begin(), held.end(), expert_of_slot[slot]) > 0) result.is_doubled = true;
      held.push_back(expert_of_slot[slot]);
    }
    result.busiest = std::max(result.busiest, sum);
  }
}

}  // namespace

EplbResult eplb(const EplbCall& call) {
  const bool is_hierarchical = call.groups % call.nodes == 0;
  const std::int64_t nodes = is_hierarchical ? call.nodes : 1;
  const std::int64_t groups = is_hierarchical ? call.groups : 1;
  const std::size_t group_size = call.load.size() / static_cast<std::size_t>(groups);
  std::vector<double> of_groups;
  for (std::size_t first = 0; first < call.load.size(); first += group_size) {
    const auto begin = call.load.begin() + static_cast<std::ptrdiff_t>(first);
    of_groups.push_back(std::accumulate(begin, begin + static_cast<std::ptrdiff_t>(group_size), 0.0));
  }
  EplbResult result;
  for (const Pack& node : packed(of_groups, static_cast<std::size_t>(nodes))) {
    std::vector<double> load;
    for (const std::size_t group : node) {
      const auto begin = call.load.begin() + static_cast<std::ptrdiff_t>(group * group_size);
      load.insert(load.end(), begin, begin + static_cast<std::ptrdiff_t>(group_size));
    }
    place_on_ranks(load, static_cast<std::size_t>(call.slots / nodes),
                   static_cast<std::size_t>(call.ranks / nodes), result);
  }
  return result;
}

}  // namespace moesim
