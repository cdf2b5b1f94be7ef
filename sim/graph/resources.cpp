// Merges links into resources. A coflow that advances at speed x' (fraction per second) keeps link l busy for
// need(l) x' of each second, with need(l) = bytes(l) / rate(l), and no link may be busy for more than all of
// it:
//
//   for each link:  sum over coflows of need(coflow, link) x'(coflow) <= 1.
//
// So only needs matter, whatever the rates. Two links with the same needs in all patterns are one constraint.
// And where need(a) >= need(b) in every pattern, the constraint of a implies that of b: b never binds before
// a, and when both bind, they stop the same coflows, so max-min sharing is the same without b.
#include "sim/graph/resources.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <bit>

#include "models/base/error.hpp"
#include "models/base/hash.hpp"

namespace moesim {
namespace {

/// Patterns that carry the same link loads share one range of them: a list.
struct LoadList {
  std::uint32_t first = 0, count = 0;            // into TaskGraph::link_loads
  std::uint32_t first_load = 0, load_count = 0;  // into TaskGraph::loads, once they are there
};

/// The lists in which a link occurs, and its need there.
struct Use {
  std::uint32_t list = 0;
  double need = 0;
};

/// Link loads the other way around: rows of uses, one row a link, in the order of lists.
class Uses {
 public:
  Uses(const TaskGraph& graph, std::span<const LoadList> lists, std::span<const Rate> link_rates)
      : first_(link_rates.size() + 1, 0) {
    for (const LinkLoad& load : graph.link_loads) {
      ensure(load.link < link_rates.size(), "a load is on a link of the fabric");
      if (!(link_rates[load.link].count > 0)) {
        throw RunError(fmt::format("link {} has {} bytes to carry but no bandwidth", load.link, load.bytes));
      }
      ++first_[load.link + 1];
    }
    for (std::size_t link = 0; link < link_rates.size(); ++link) first_[link + 1] += first_[link];
    uses_.resize(graph.link_loads.size());
    std::vector<std::uint32_t> next(first_.begin(), first_.end() - 1);
    for (std::uint32_t list = 0; list < lists.size(); ++list) {
      for (std::uint32_t i = lists[list].first; i < lists[list].first + lists[list].count; ++i) {
        const LinkLoad& load = graph.link_loads[i];
        uses_[next[load.link]++] = {list, load.bytes / link_rates[load.link].count};
      }
    }
  }

  std::span<const Use> of(std::uint32_t link) const {
    return {uses_.data() + first_[link], first_[link + 1] - first_[link]};
  }
  std::size_t size() const { return uses_.size(); }

 private:
  std::vector<std::uint32_t> first_;
  std::vector<Use> uses_;
};

/// The distinct lists, in the order of their first pattern; `list_of` gets the list of each pattern.
std::vector<LoadList> find_lists(const TaskGraph& graph, std::vector<std::uint32_t>& list_of) {
  std::vector<LoadList> lists;
  std::unordered_map<std::uint32_t, std::uint32_t> known;
  for (const Pattern& pattern : graph.pattern_table) {
    if (pattern.link_load_count == 0) {
      list_of.push_back(nothing);
      continue;
    }
    const auto [list, is_new] =
        known.try_emplace(pattern.first_link_load, static_cast<std::uint32_t>(lists.size()));
    if (is_new) lists.push_back({.first = pattern.first_link_load, .count = pattern.link_load_count});
    list_of.push_back(list->second);
  }
  return lists;
}

bool same_uses(std::span<const Use> a, std::span<const Use> b) {
  return std::ranges::equal(a, b,
                            [](const Use& x, const Use& y) { return x.list == y.list && x.need == y.need; });
}

/// For each link the first one with the same uses; nothing for unused links.
std::vector<std::uint32_t> first_alike(const Uses& uses, std::uint32_t link_count) {
  std::vector<std::uint32_t> first_of(link_count, nothing);
  std::unordered_map<std::uint64_t, std::uint32_t> known;
  for (std::uint32_t link = 0; link < link_count; ++link) {
    if (uses.of(link).empty()) continue;
    std::uint64_t hash = hash_of_nothing;
    for (const Use& use : uses.of(link))
      hash = hash_with(hash_with(hash, use.list), std::bit_cast<std::uint64_t>(use.need));
    const auto [first, is_new] = known.try_emplace(hash, link);
    const bool is_first = is_new || !same_uses(uses.of(first->second), uses.of(link));
    first_of[link] = is_first ? link : first->second;
  }
  return first_of;
}

/// Marks the links that become resources: of those that are alike the first.
std::vector<bool> keep_distinct(std::span<const std::uint32_t> first_of) {
  std::vector<bool> kept(first_of.size(), false);
  for (std::uint32_t link = 0; link < first_of.size(); ++link) kept[link] = first_of[link] == link;
  return kept;
}

/// Leaves out links that another kept link outlasts in every list. Gives up, without harm, where that gets
/// long.
class Domination {
 public:
  Domination(const TaskGraph& graph, const Uses& uses, std::span<const LoadList> lists)
      : graph_(graph),
        uses_(uses),
        lists_(lists),
        effort_(16 * static_cast<std::int64_t>(uses.size()) + 100'000) {}

  void thin(std::vector<bool>& kept) {
    for (std::uint32_t link = 0; link < kept.size() && effort_ > 0; ++link) {
      if (kept[link] && is_dominated(link, kept)) kept[link] = false;
    }
  }

 private:
  bool is_dominated(std::uint32_t link, const std::vector<bool>& kept) {
    // Whatever dominates this link is in all its lists, so looking through the shortest is enough.
    const std::span<const Use> own = uses_.of(link);
    const Use& scarcest =
        *std::ranges::min_element(own, {}, [&](const Use& use) { return lists_[use.list].count; });
    const LoadList& list = lists_[scarcest.list];
    for (std::uint32_t i = list.first; i < list.first + list.count && effort_ > 0; ++i) {
      const std::uint32_t other = graph_.link_loads[i].link;
      --effort_;
      if (other != link && kept[other] && outlasts(uses_.of(other), own)) return true;
    }
    return false;
  }

  bool outlasts(std::span<const Use> stronger, std::span<const Use> weaker) {
    if (stronger.size() < weaker.size()) return false;
    auto at = stronger.begin();
    for (const Use& use : weaker) {
      --effort_;
      at = std::lower_bound(at, stronger.end(), use.list,
                            [](const Use& a, std::uint32_t b) { return a.list < b; });
      if (at == stronger.end() || at->list != use.list || at->need < use.need) return false;
    }
    return true;
  }

  const TaskGraph& graph_;
  const Uses& uses_;
  std::span<const LoadList> lists_;
  std::int64_t effort_;  // steps left; bounds the whole to a small multiple of reading all loads once
};

/// Writes capacities and loads of the kept links.
void write_resources(TaskGraph& graph, std::span<const Rate> link_rates, const std::vector<bool>& kept,
                     std::vector<LoadList>& lists) {
  std::vector<std::uint32_t>& resource_of = graph.resource_of_link;
  resource_of.assign(kept.size(), nothing);
  for (std::uint32_t link = 0; link < kept.size(); ++link) {
    if (!kept[link]) continue;
    resource_of[link] = static_cast<std::uint32_t>(graph.capacities.size());
    graph.capacities.push_back(link_rates[link]);
  }
  for (LoadList& list : lists) {
    list.first_load = static_cast<std::uint32_t>(graph.loads.size());
    for (std::uint32_t i = list.first; i < list.first + list.count; ++i) {
      const LinkLoad& load = graph.link_loads[i];
      if (kept[load.link]) graph.loads.push_back({resource_of[load.link], load.bytes});
    }
    list.load_count = static_cast<std::uint32_t>(graph.loads.size()) - list.first_load;
  }
  graph.loads.shrink_to_fit();
}

}  // namespace

void add_resources(TaskGraph& graph, std::span<const Rate> link_rates) {
  std::vector<std::uint32_t> list_of;
  std::vector<LoadList> lists = find_lists(graph, list_of);
  const Uses uses(graph, lists, link_rates);
  const std::vector<std::uint32_t> first_of =
      first_alike(uses, static_cast<std::uint32_t>(link_rates.size()));
  std::vector<bool> kept = keep_distinct(first_of);
  Domination(graph, uses, lists).thin(kept);
  write_resources(graph, link_rates, kept, lists);
  for (std::uint32_t link = 0; link < first_of.size(); ++link) {
    if (first_of[link] != nothing) graph.resource_of_link[link] = graph.resource_of_link[first_of[link]];
  }
  for (std::size_t i = 0; i < list_of.size(); ++i) {
    if (list_of[i] == nothing) continue;
    graph.pattern_table[i].first_load = lists[list_of[i]].first_load;
    graph.pattern_table[i].load_count = lists[list_of[i]].load_count;
  }
}

}  // namespace moesim
