#include "sim/work/expert_loads.hpp"
#include "models/base/at.hpp"

#include <algorithm>
#include <functional>
#include <numeric>

#include "sim/work/expert_work.hpp"
#include "sim/work/share.hpp"

namespace moesim {
namespace {

/// For each expert group, the first of those whose ranks share experts with its ranks: they get the same
/// loads.
std::vector<std::int64_t> draws_of_groups(const Scenario& scenario) {
  const std::vector<Group> groups = scenario.layout.expert_groups();
  std::vector<std::int64_t> group_of_position(
      static_cast<std::size_t>(scenario.layout.sizes().stage_devices()));
  for (std::size_t group = 0; group < groups.size(); ++group) {
    for (const std::uint32_t position : groups[group])
      group_of_position[position] = static_cast<std::int64_t>(group);
  }
  std::vector<std::int64_t> draws(groups.size());
  for (const Group& sharing : scenario.layout.expert_tensor_groups()) {
    std::int64_t first = group_of_position[sharing.front()];
    for (const std::uint32_t position : sharing) first = std::min(first, group_of_position[position]);
    for (const std::uint32_t position : sharing) at(draws, group_of_position[position]) = first;
  }
  return draws;
}

/// How popular the experts of a layer are on average over the step: what a balancer has to go by.
std::vector<double> mean_popularity(const Scenario& scenario, const Gate& gate, std::int64_t layer) {
  const std::int64_t microbatches = scenario.router.varies() ? scenario.microbatches() : 1;
  std::vector<double> sum(static_cast<std::size_t>(gate.experts));
  for (std::int64_t microbatch = 0; microbatch < microbatches; ++microbatch) {
    const std::vector<double> shares = scenario.router.popularity(gate, layer, microbatch);
    std::transform(sum.begin(), sum.end(), shares.begin(), sum.begin(), std::plus<>());
  }
  for (double& share : sum) share /= static_cast<double>(microbatches);
  return sum;
}

ExpertPlacement place(const Scenario& scenario, std::int64_t layer, std::int64_t nodes) {
  if (scenario.placed) return at(*scenario.placed, layer);
  const Experts& experts = at(scenario.model.layers, layer).experts;
  if (scenario.placement == Placement::in_order)
    return place_in_order(experts.count, scenario.layout.sizes().expert);
  return place_by_load(scenario, mean_popularity(scenario, gate_of(experts), layer), layer, nodes);
}

/// Numbers of experts such that those of a topic are neighbours.
std::vector<std::int32_t> experts_by_topic(const Coactivation& coactivation, std::int64_t experts) {
  std::vector<std::int32_t> order(static_cast<std::size_t>(experts));
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](std::int32_t a, std::int32_t b) {
    return coactivation.topic_of(a, experts) < coactivation.topic_of(b, experts);
  });
  return order;
}

}  // namespace

ExpertPlacement place_by_load(const Scenario& scenario, const std::vector<double>& load, std::int64_t layer,
                              std::int64_t nodes) {
  const Experts& experts = at(scenario.model.layers, layer).experts;
  BalanceTask task{.load = load,
                   .ranks = scenario.layout.sizes().expert,
                   .nodes = nodes,
                   .groups = experts.groups,
                   .redundant = scenario.redundant_experts};
  if (scenario.placement != Placement::by_topic) return place_balanced(task);
  const std::vector<std::int32_t> order = experts_by_topic(*scenario.router.coactivation, experts.count);
  std::vector<double> ordered;
  for (const std::int32_t expert : order) ordered.push_back(at(load, expert));
  task.load = ordered;
  task.groups = scenario.router.coactivation->topics;
  ExpertPlacement placement = place_balanced(task);
  for (std::int32_t& expert : placement.expert_of_slot) expert = at(order, expert);
  return placement;
}

Bytes ExpertLoads::most_offloaded() const {
  Bytes most;
  for (const ExpertWork& work : works_) most = std::max(most, work.offloaded);
  return most;
}

/// Fills in the tables. Ranks with the same rows in any order of their experts have the same work.
class ExpertLoads::Maker {
 public:
  Maker(const Scenario& scenario, ExpertLoads& loads)
      : scenario_(scenario), loads_(loads), gathered_(gathered_groups(scenario)), works_(scenario) {}

  void make() {
    const std::vector<std::size_t> shape = first_of_shape(scenario_);
    const bool varies = scenario_.router.varies();
    const bool has_groups = varies && scenario_.resolution == Resolution::full;
    const auto groups = static_cast<std::int64_t>(has_groups ? scenario_.layout.expert_groups().size() : 1);
    const std::int64_t microbatches = varies ? scenario_.microbatches() : 1;
    const std::int64_t nodes = even_nodes(scenario_);
    const std::vector<std::int64_t> draws = draws_of_groups(scenario_);
    loads_.groups_ = groups;
    loads_.ranks_ = static_cast<std::size_t>(scenario_.layout.sizes().expert);
    for (std::size_t i = 0; i < shape.size(); ++i) {
      const auto layer = static_cast<std::int64_t>(i);
      loads_.spans_.push_back({loads_.count(), microbatches, groups});
      loads_.placements_.emplace_back();
      loads_.mean_rows_.push_back(0);
      if (!scenario_.model.layers[i].is_moe) continue;
      loads_.placements_.back() = place(scenario_, layer, nodes);
      for (std::int64_t microbatch = 0; microbatch < microbatches; ++microbatch) {
        for (std::int64_t group = 0; group < groups; ++group) {
          loads_.mean_rows_.back() += add({layer, microbatch, at(draws, group)}, shape[i]);
        }
      }
      const std::int64_t summed = microbatches * groups * scenario_.layout.sizes().expert;
      loads_.mean_rows_.back() = (loads_.mean_rows_.back() + summed / 2) / summed;
    }
    loads_.works_ = std::move(works_).take();
  }

 private:
  /// Returns the rows of all ranks.
  std::int64_t add(const Origin& origin, std::size_t shape) {
    loads_.origins_.push_back(origin);
    loads_.route(scenario_, origin, routed_);
    const RankRows rows = rank_rows(routed_, loads_.placement(origin.layer));
    loads_.counts_.push_back(count(rows));
    const std::int64_t all = loads_.counts_.back().sent;
    const std::int64_t sent = (all + rows.ranks / 2) / rows.ranks;
    const auto slots = static_cast<std::size_t>(rows.slots_per_rank);
    for (std::size_t rank = 0; rank < loads_.ranks_; ++rank) {
      const auto first = rows.slot_rows.begin() + static_cast<std::ptrdiff_t>(rank * slots);
      std::vector<std::int64_t> of_slots(first, first + static_cast<std::ptrdiff_t>(slots));
      for (std::int64_t& of_slot : of_slots) of_slot *= gathered_;
      loads_.most_rows_ = std::max(loads_.most_rows_, loads_.counts_.back().of_ranks[rank] * gathered_);
      loads_.work_of_rank_.push_back(works_.number_of(shape, std::move(of_slots), sent));
    }
    return all;
  }

  LoadCounts count(const RankRows& rows) const {
    LoadCounts counts;
    counts.of_experts = routed_.of_experts();
    for (std::int64_t rank = 0; rank < rows.ranks; ++rank) counts.of_ranks.push_back(rows.of_rank(rank));
    counts.dropped = routed_.dropped;
    counts.kept = routed_.total();
    counts.sent = std::accumulate(rows.sent.begin(), rows.sent.end(), std::int64_t{0});
    return counts;
  }

  const Scenario& scenario_;
  ExpertLoads& loads_;
  std::int64_t gathered_;  ///< expert groups whose rows are computed together
  ExpertWorks works_;
  Loads routed_;  // scratch of add()
};

ExpertLoads::ExpertLoads(const Scenario& scenario) { Maker(scenario, *this).make(); }

void ExpertLoads::route(const Scenario& scenario, const Origin& origin, Loads& loads) const {
  const Experts& experts = at(scenario.model.layers, origin.layer).experts;
  scenario.router.fill(loads, gate_of(experts), origin.layer, origin.microbatch, origin.group,
                       scenario.layout.sizes().expert,
                       tokens_per_device(scenario, static_cast<std::size_t>(origin.layer)));
}

RankRows ExpertLoads::rows(const Scenario& scenario, std::uint32_t number) const {
  Loads loads;
  route(scenario, origins_[number], loads);
  return rank_rows(loads, placement(origins_[number].layer));
}

std::int64_t even_nodes(const Scenario& scenario) {
  const std::vector<Group> groups = scenario.layout.expert_groups();
  std::vector<DeviceId> group;
  for (const std::uint32_t position : groups.front()) group.push_back(scenario.layout.device(0, position));
  const std::int64_t nodes = nodes_of(group, scenario.fabric());
  return static_cast<std::int64_t>(group.size()) % nodes == 0 ? nodes : 1;
}

double busiest_over_mean_rows(const Scenario& scenario) {
  const std::int64_t nodes = even_nodes(scenario);
  double sum = 0;
  double layers = 0;
  Loads loads;
  for (std::size_t i = 0; i < scenario.model.layers.size(); ++i) {
    const auto layer = static_cast<std::int64_t>(i);
    if (!scenario.model.layers[i].is_moe) continue;
    scenario.router.fill(loads, gate_of(scenario.model.layers[i].experts), layer, 0, 0,
                         scenario.layout.sizes().expert, tokens_per_device(scenario, i));
    const RankRows rows = rank_rows(loads, place(scenario, layer, nodes));
    std::int64_t most = 0;
    std::int64_t all = 0;
    for (std::int64_t rank = 0; rank < rows.ranks; ++rank) {
      most = std::max(most, rows.of_rank(rank));
      all += rows.of_rank(rank);
    }
    sum += static_cast<double>(most) * static_cast<double>(rows.ranks) /
           static_cast<double>(std::max<std::int64_t>(all, 1));
    ++layers;
  }
  return layers == 0 ? 1 : sum / layers;
}

bool has_uneven_loads(const Scenario& scenario) {
  const std::vector<Layer>& layers = scenario.model.layers;
  for (std::size_t i = 0; i < layers.size(); ++i) {
    if (!layers[i].is_moe) continue;
    if (scenario.redundant_experts > 0) return true;
    if (!scenario.router.is_even(gate_of(layers[i].experts), tokens_per_device(scenario, i))) return true;
  }
  return false;
}

}  // namespace moesim
