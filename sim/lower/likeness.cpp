#include "sim/lower/likeness.hpp"

#include <algorithm>
#include <bit>
#include <map>
#include <memory>
#include <set>
#include <utility>

#include "models/base/hash.hpp"
#include "sim/lower/tiers.hpp"

namespace moesim {
namespace {

/// Sums of the same numbers in different orders are equal up to here: 2^-40 of them.
std::uint64_t without_noise(double value) {
  constexpr int noise = 12;  // bits
  return (std::bit_cast<std::uint64_t>(value) + (1U << (noise - 1))) >> noise;
}

/// What makes groups of one pattern differ.
struct Looks {
  std::vector<std::uint64_t> traffic;
  Time latency{};
  std::uint64_t flow_bytes = 0, alone = 0;
  auto operator<=>(const Looks&) const = default;
};

/// The classes of links that groups use, as resources of the graph.
class Resources {
 public:
  Resources(const TaskGraph& graph, const Footprints& footprints)
      : graph_(graph), footprints_(footprints), seen_(graph.capacities.size(), nothing) {}

  /// From now on does without those.
  void leave_out(const std::vector<bool>& resources) {
    for (std::size_t resource = 0; resource < seen_.size(); ++resource)
      if (resources[resource]) seen_[resource] = always;
  }

  std::vector<std::uint64_t> of(const Footprint& group) {
    std::vector<std::uint64_t> used;
    ++round_;
    for (std::uint32_t i = group.first_link; i < group.first_link + group.link_count; ++i) {
      const std::uint32_t resource = graph_.resource_of_link[footprints_.links[i]];
      if (resource == nothing || seen_[resource] == round_ || seen_[resource] == always) continue;
      seen_[resource] = round_;
      used.push_back(resource);
    }
    std::sort(used.begin(), used.end());
    return used;
  }

 private:
  static constexpr std::uint32_t always = nothing - 1;

  const TaskGraph& graph_;
  const Footprints& footprints_;
  std::vector<std::uint32_t> seen_;  // by resource: the last round that did
  std::uint32_t round_ = 0;
};

/// Colours of what advances at one rate, parts or whole patterns, and of the links that they share.
class Colours {
 public:
  explicit Colours(const TaskGraph& graph) : graph_(graph), of_pattern_(graph.pattern_table.size()) {
    for (PatternId id = 0; id < graph.pattern_table.size(); ++id) {
      const Pattern& whole = graph.pattern_table[id];
      of_pattern_[id] = start_of(id, whole);
      if (whole.part_count == 0) {
        moving_.push_back(id);
        continue;
      }
      for (std::uint32_t part = 0; part < whole.part_count; ++part) {
        of_pattern_[++id] = start_of(whole.first_part, graph.pattern_table[whole.first_part + part]);
        moving_.push_back(id);
      }
    }
    for (std::size_t before = 0, now = count(); now != before; now = count()) {
      before = now;
      refine();
    }
  }

  std::uint64_t of(PatternId id) const { return of_pattern_[id]; }

 private:
  static std::uint64_t start_of(PatternId whole, const Pattern& pattern) {
    return hash_with(hash_with(hash_of_nothing, whole), without_noise(pattern.flow_bytes));
  }
  /// So that sums of them tell sets apart: SplitMix64's finalizer.
  static std::uint64_t mixed(std::uint64_t colour, double need) {
    std::uint64_t z = hash_with(hash_with(hash_of_nothing, colour), without_noise(need));
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }

  std::size_t count() const {
    std::set<std::uint64_t> distinct;
    for (const PatternId id : moving_) distinct.insert(of_pattern_[id]);
    return distinct.size();
  }

  void refine() {
    std::vector<std::uint64_t> of_resource(graph_.capacities.size(), 0);
    const auto need = [&](const Load& load) { return load.bytes / graph_.capacities[load.resource].count; };
    for (const PatternId id : moving_) {
      for (const Load& load : graph_.loads_of(graph_.pattern_table[id]))
        of_resource[load.resource] += mixed(of_pattern_[id], need(load));
    }
    for (const PatternId id : moving_) {
      std::uint64_t sum = 0;
      for (const Load& load : graph_.loads_of(graph_.pattern_table[id]))
        sum += mixed(of_resource[load.resource], need(load));
      of_pattern_[id] = hash_with(hash_with(hash_of_nothing, of_pattern_[id]), sum);
    }
  }

  const TaskGraph& graph_;
  std::vector<std::uint64_t> of_pattern_;
  std::vector<PatternId> moving_;
};

/// How the groups of all patterns look.
class Likeness {
 public:
  Likeness(const Scenario& scenario, const TaskGraph& graph, const Footprints& footprints)
      : shares_links_(scenario.engine->shares_links()),
        graph_(graph),
        footprints_(footprints),
        resources_(graph, footprints) {
    if (shares_links_ && scenario.engine->flows() != FlowGrain::coflow && !footprints.wholes.empty())
      colours_ = std::make_unique<const Colours>(graph);
  }

  /// Takes a closer look at what can hold anybody up.
  void look_closer(const Fabric& fabric) { resources_.leave_out(never_binding(graph_, fabric)); }

  std::vector<Looks> of(const Footprints::Whole& whole) {
    std::vector<Looks> looks;
    for (std::uint32_t i = whole.first_group; i < whole.first_group + whole.group_count; ++i) {
      const Footprint& group = footprints_.groups[i];
      looks.push_back({.traffic = {},
                       .latency = group.latency,
                       .flow_bytes = shares_links_ ? without_noise(group.flow_bytes) : 0,
                       .alone = without_noise(group.alone)});
      if (shares_links_ && !colours_) looks.back().traffic = resources_.of(group);
    }
    if (colours_) add_colours(whole, looks);
    return looks;
  }

 private:
  void add_colours(const Footprints::Whole& whole, std::vector<Looks>& looks) const {
    const Pattern& pattern = graph_.pattern_table[whole.pattern];
    for (std::uint32_t part = 0; part < pattern.part_count; ++part) {
      Looks& group = looks[footprints_.group_of_part[whole.first_part + part]];
      group.traffic.push_back(colours_->of(pattern.first_part + part));
    }
    for (Looks& group : looks) std::sort(group.traffic.begin(), group.traffic.end());
  }

  bool shares_links_;
  const TaskGraph& graph_;
  const Footprints& footprints_;
  Resources resources_;
  std::unique_ptr<const Colours> colours_;  // where parts have rates of their own
};

bool are_equal(const std::vector<Looks>& looks) {
  return std::all_of(looks.begin(), looks.end(), [&](const Looks& other) { return other == looks[0]; });
}

}  // namespace

std::vector<std::uint32_t> positions_of_devices(const Scenario& scenario) {
  const Sizes& sizes = scenario.layout.sizes();
  std::vector<std::uint32_t> positions(scenario.fabric().device_count());
  for (std::int64_t rank = 0; rank < sizes.pipeline; ++rank) {
    for (std::uint32_t position = 0; position < sizes.stage_devices(); ++position)
      positions[scenario.layout.device(rank, position)] = position;
  }
  return positions;
}

Fold split_unlike(const Scenario& scenario, const Fold& fold, const TaskGraph& graph,
                  const Footprints& footprints) {
  Likeness likeness(scenario, graph, footprints);
  std::vector<std::uint32_t> positions;
  std::vector<std::vector<std::uint32_t>> signatures;
  std::uint32_t next = 0;
  bool is_close = false;
  for (const Footprints::Whole& whole : footprints.wholes) {
    std::vector<Looks> looks = likeness.of(whole);
    if (are_equal(looks)) continue;
    if (!std::exchange(is_close, true)) likeness.look_closer(scenario.fabric());
    looks = likeness.of(whole);
    if (are_equal(looks)) continue;
    if (signatures.empty()) {
      positions = positions_of_devices(scenario);
      signatures.resize(fold.representatives.size());
    }
    std::map<Looks, std::uint32_t> numbers;
    for (std::uint32_t i = 0; i < whole.group_count; ++i) {
      const std::uint32_t number = numbers.try_emplace(looks[i], next + i).first->second;
      std::set<std::uint32_t> members;  // a position once, though it may be there on two pipeline ranks
      for (const DeviceId device : footprints.groups[whole.first_group + i].devices)
        members.insert(positions[device]);
      for (const std::uint32_t position : members) signatures[position].push_back(number);
    }
    next += whole.group_count;
  }
  return signatures.empty() ? fold : split(scenario, fold, std::move(signatures));
}

}  // namespace moesim
