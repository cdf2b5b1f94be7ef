#include "models/routing/expert_placement.hpp"

#include <algorithm>
#include <numeric>

#include "models/base/at.hpp"
#include "models/base/error.hpp"

namespace moesim {
namespace {

/// Something to pack: an expert's copy onto ranks, or a group onto nodes.
struct Item {
  std::int32_t id = 0;
  double weight = 0;
};

/// Items in as many bins as asked for, equally many in each, no id twice in one bin where that is possible.
class Packing {
 public:
  Packing(std::int64_t bins, std::int64_t places)
      : places_(static_cast<std::size_t>(places)),
        bins_(static_cast<std::size_t>(bins)),
        weights_(static_cast<std::size_t>(bins), 0.0) {}

  /// Into the lightest bin that has a place left and does not hold the same already.
  void add(const Item& item) {
    const std::size_t bin = lightest(item, true);
    if (bin < bins_.size()) {
      put(bin, item);
      return;
    }
    const std::size_t holding = lightest(item, false);
    if (!exchange(holding, item)) put(holding, item);
  }

  const std::vector<std::vector<Item>>& bins() const { return bins_; }

 private:
  bool holds(std::size_t bin, std::int32_t id) const {
    return std::any_of(bins_[bin].begin(), bins_[bin].end(), [&](const Item& i) { return i.id == id; });
  }

  /// The lightest bin with a place left, or as many as there are bins.
  std::size_t lightest(const Item& item, bool distinct) const {
    std::size_t found = bins_.size();
    for (std::size_t bin = 0; bin < bins_.size(); ++bin) {
      if (bins_[bin].size() == places_ || (distinct && holds(bin, item.id))) continue;
      if (found == bins_.size() || weights_[bin] < weights_[found]) found = bin;
    }
    return found;
  }

  void put(std::size_t bin, const Item& item) {
    bins_[bin].push_back(item);
    weights_[bin] += item.weight;
  }

  /// Puts the item into a full bin without it, one of whose items moves to `open` instead: the lightest such
  /// item. A bin without the item exists while there are no more copies than bins, and it has more kinds of
  /// items than `open` has, so one of them can move.
  bool exchange(std::size_t open, const Item& item) {
    Item* moved = nullptr;
    std::size_t from = 0;
    for (std::size_t bin = 0; bin < bins_.size(); ++bin) {
      if (holds(bin, item.id)) continue;
      for (Item& candidate : bins_[bin]) {
        if (holds(open, candidate.id) || (moved != nullptr && candidate.weight >= moved->weight)) continue;
        moved = &candidate;
        from = bin;
      }
    }
    if (moved == nullptr) return false;
    const Item leaving = *moved;
    *moved = item;
    weights_[from] += item.weight - leaving.weight;
    put(open, leaving);
    return true;
  }

  std::size_t places_;
  std::vector<std::vector<Item>> bins_;
  std::vector<double> weights_;
};

/// Packs heaviest first.
std::vector<std::vector<Item>> pack(std::vector<Item> items, std::int64_t bins) {
  std::stable_sort(items.begin(), items.end(),
                   [](const Item& a, const Item& b) { return a.weight > b.weight; });
  Packing packing(bins, static_cast<std::int64_t>(items.size()) / bins);
  for (const Item& item : items) packing.add(item);
  return packing.bins();
}

/// Experts of each node: whole groups, by their load.
std::vector<std::vector<std::int32_t>> experts_of_nodes(const BalanceTask& task, std::int64_t nodes) {
  const auto size = static_cast<std::int64_t>(task.load.size()) / task.groups;
  std::vector<Item> groups;
  for (std::int64_t g = 0; g < task.groups; ++g) {
    const auto first = task.load.begin() + static_cast<std::ptrdiff_t>(g * size);
    groups.push_back({static_cast<std::int32_t>(g),
                      std::accumulate(first, first + static_cast<std::ptrdiff_t>(size), 0.0)});
  }
  std::vector<std::vector<std::int32_t>> experts;
  for (const std::vector<Item>& node : pack(groups, nodes)) {
    experts.emplace_back();
    for (const Item& group : node) {
      for (std::int64_t e = 0; e < size; ++e) {
        experts.back().push_back(static_cast<std::int32_t>(group.id * size + e));
      }
    }
  }
  return experts;
}

/// One slot for each expert, and the others for the expert with the most load a copy at that moment. More
/// copies than ranks only where every expert has as many.
std::vector<Item> copies(const BalanceTask& task, std::span<const std::int32_t> experts, std::int64_t slots,
                         std::int64_t ranks) {
  std::vector<std::int64_t> count(experts.size(), 1);
  const auto load = [&](std::size_t i) { return at(task.load, experts[i]) / static_cast<double>(count[i]); };
  for (auto slot = static_cast<std::int64_t>(experts.size()); slot < slots; ++slot) {
    std::size_t hottest = 0;
    for (std::size_t i = 1; i < experts.size(); ++i) {
      const bool may = count[i] < ranks;
      const bool may_best = count[hottest] < ranks;
      if (may != may_best ? may : load(i) > load(hottest)) hottest = i;
    }
    ++count[hottest];
  }
  std::vector<Item> items;
  for (std::size_t i = 0; i < experts.size(); ++i) {
    items.insert(items.end(), static_cast<std::size_t>(count[i]), Item{experts[i], load(i)});
  }
  return items;
}

double busiest(std::span<const double> load, const ExpertPlacement& placement) {
  const std::vector<double> ranks = rank_loads(load, placement);
  return *std::max_element(ranks.begin(), ranks.end());
}

/// Of an expert's rows from one source, those of copy `number` of `copies`.
std::int64_t share_of_copy(std::int64_t rows, std::int64_t copies, std::int64_t number, std::int64_t source) {
  if (copies == 1) return rows;
  const std::int64_t behind = (number - source % copies + copies) % copies;
  return rows / copies + (behind < rows % copies ? 1 : 0);
}

/// Where each expert has one slot: nothing to split.
void add_whole_rows(const Loads& loads, const ExpertPlacement& placement, RankRows& rows) {
  const auto per_rank = static_cast<std::size_t>(rows.slots_per_rank);
  const std::size_t slots = placement.expert_of_slot.size();
  const std::int32_t* const experts = placement.expert_of_slot.data();
  std::int64_t* const slot_rows = rows.slot_rows.data();
  std::int64_t* sent = rows.sent.data();
  for (std::int64_t source = 0; source < loads.sources; ++source) {
    const std::int64_t* const of_source = loads.rows.data() + source * loads.experts;
    for (std::size_t first = 0; first < slots; first += per_rank, ++sent) {
      for (std::size_t slot = first; slot < first + per_rank; ++slot) {
        const std::int64_t all = loads.capacity > 0 ? loads.capacity : of_source[experts[slot]];
        slot_rows[slot] += all;
        *sent += all;
      }
    }
  }
}

}  // namespace

std::int64_t ExpertPlacement::copies_of(std::int64_t expert) const {
  return std::count(expert_of_slot.begin(), expert_of_slot.end(), static_cast<std::int32_t>(expert));
}

ExpertPlacement place_in_order(std::int64_t experts, std::int64_t ranks) {
  ensure(ranks >= 1 && experts % ranks == 0, "experts divide by ranks");
  ExpertPlacement placement{.ranks = ranks, .expert_of_slot = {}};
  placement.expert_of_slot.resize(static_cast<std::size_t>(experts));
  std::iota(placement.expert_of_slot.begin(), placement.expert_of_slot.end(), 0);
  return placement;
}

ExpertPlacement place_balanced(const BalanceTask& task) {
  const auto experts = static_cast<std::int64_t>(task.load.size());
  ensure((experts + task.redundant) % task.ranks == 0 && task.ranks % task.nodes == 0 && task.redundant >= 0,
         "slots divide by ranks and ranks by nodes");
  const bool whole = task.groups % task.nodes != 0 || experts % task.groups != 0;
  const std::int64_t nodes = whole ? 1 : task.nodes;
  BalanceTask fitting = task;
  if (whole) fitting.groups = 1;
  const std::int64_t ranks = task.ranks / nodes;
  ExpertPlacement placement{.ranks = task.ranks, .expert_of_slot = {}};
  for (const std::vector<std::int32_t>& node : experts_of_nodes(fitting, nodes)) {
    const std::int64_t slots = (experts + task.redundant) / nodes;
    for (const std::vector<Item>& rank : pack(copies(task, node, slots, ranks), ranks)) {
      for (const Item& slot : rank) placement.expert_of_slot.push_back(slot.id);
    }
  }
  if (task.redundant > 0) return placement;
  ExpertPlacement in_order = place_in_order(experts, task.ranks);
  return busiest(task.load, placement) <= busiest(task.load, in_order) ? placement : in_order;
}

std::vector<double> rank_loads(std::span<const double> load, const ExpertPlacement& placement) {
  std::vector<double> copies(load.size(), 0.0);
  for (const std::int32_t expert : placement.expert_of_slot) ++at(copies, expert);
  std::vector<double> loads(static_cast<std::size_t>(placement.ranks), 0.0);
  const auto slots = static_cast<std::size_t>(placement.slots_per_rank());
  for (std::size_t slot = 0; slot < placement.expert_of_slot.size(); ++slot) {
    const auto expert = static_cast<std::size_t>(placement.expert_of_slot[slot]);
    loads[slot / slots] += load[expert] / copies[expert];
  }
  return loads;
}

std::int64_t RankRows::of_rank(std::int64_t rank) const {
  const auto first = slot_rows.begin() + static_cast<std::ptrdiff_t>(rank * slots_per_rank);
  return std::accumulate(first, first + static_cast<std::ptrdiff_t>(slots_per_rank), std::int64_t{0});
}

RankRows rank_rows(const Loads& loads, const ExpertPlacement& placement) {
  const std::size_t slots = placement.expert_of_slot.size();
  std::vector<std::int64_t> copies(static_cast<std::size_t>(loads.experts), 0);
  std::vector<std::int64_t> number(slots);  // of each slot among the copies of its expert
  for (std::size_t slot = 0; slot < slots; ++slot) {
    number[slot] = at(copies, placement.expert_of_slot[slot])++;
  }
  RankRows rows{
      .ranks = placement.ranks, .slots_per_rank = placement.slots_per_rank(), .slot_rows = {}, .sent = {}};
  rows.slot_rows.assign(slots, 0);
  rows.sent.assign(static_cast<std::size_t>(loads.sources * placement.ranks), 0);
  const auto per_rank = static_cast<std::size_t>(rows.slots_per_rank);
  if (slots == static_cast<std::size_t>(loads.experts)) {
    add_whole_rows(loads, placement, rows);
    return rows;
  }
  auto sent = rows.sent.begin();
  for (std::int64_t source = 0; source < loads.sources; ++source) {
    for (std::size_t first = 0; first < slots; first += per_rank, ++sent) {
      for (std::size_t slot = first; slot < first + per_rank; ++slot) {
        const std::int32_t expert = placement.expert_of_slot[slot];
        const std::int64_t all = loads.capacity > 0 ? loads.capacity : loads.of(source, expert);
        const std::int64_t share = share_of_copy(all, at(copies, expert), number[slot], source);
        rows.slot_rows[slot] += share;
        *sent += share;
      }
    }
  }
  return rows;
}

}  // namespace moesim
