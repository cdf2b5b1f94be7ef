#include "sim/scenario/expert_loads.hpp"

#include <algorithm>
#include <functional>
#include <map>
#include <numeric>
#include <set>

#include "sim/scenario/share.hpp"
#include "sim/scenario/work_times.hpp"

namespace moesim {
namespace {

/// The nodes of an expert group where it fills each of them alike, else one: placement then ignores nodes.
std::int64_t even_nodes(const Scenario& scenario) {
  const std::vector<Group> groups = scenario.layout.expert_groups();
  std::vector<DeviceId> group;
  for (const std::uint32_t position : groups.front()) group.push_back(scenario.layout.device(0, position));
  const std::int64_t nodes = nodes_of(group, scenario.fabric());
  return static_cast<std::int64_t>(group.size()) % nodes == 0 ? nodes : 1;
}

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
    for (const std::uint32_t position : sharing)
      draws[static_cast<std::size_t>(group_of_position[position])] = first;
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
  const Experts& experts = scenario.model.layers[static_cast<std::size_t>(layer)].experts;
  const std::int64_t ranks = scenario.layout.sizes().expert;
  if (scenario.placement == Placement::in_order) return place_in_order(experts.count, ranks);
  const std::vector<double> load = mean_popularity(scenario, gate_of(experts), layer);
  return place_balanced({.load = load,
                         .ranks = ranks,
                         .nodes = nodes,
                         .groups = experts.groups,
                         .redundant = scenario.redundant_experts});
}

}  // namespace

/// Fills in the tables. Ranks with the same rows in any order of their experts have the same work.
class ExpertLoads::Maker {
 public:
  Maker(const Scenario& scenario, ExpertLoads& loads)
      : scenario_(scenario), loads_(loads), gathered_(gathered_groups(scenario)) {}

  void make() {
    const std::vector<std::size_t> shape = first_of_shape(scenario_.model);
    known_.resize(shape.size());
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
          loads_.mean_rows_.back() +=
              add({layer, microbatch, draws[static_cast<std::size_t>(group)]}, shape[i]);
        }
      }
      const std::int64_t summed = microbatches * groups * scenario_.layout.sizes().expert;
      loads_.mean_rows_.back() = (loads_.mean_rows_.back() + summed / 2) / summed;
    }
  }

 private:
  /// Answers the rows of all ranks.
  std::int64_t add(const Origin& origin, std::size_t shape) {
    loads_.origins_.push_back(origin);
    const RankRows rows = loads_.rows(scenario_, loads_.count() - 1);
    const std::int64_t all = std::accumulate(rows.sent.begin(), rows.sent.end(), std::int64_t{0});
    const std::int64_t sent = (all + rows.ranks / 2) / rows.ranks;
    const auto slots = static_cast<std::size_t>(rows.slots_per_rank);
    for (std::size_t rank = 0; rank < loads_.ranks_; ++rank) {
      const auto first = rows.slot_rows.begin() + static_cast<std::ptrdiff_t>(rank * slots);
      std::vector<std::int64_t> of_slots(first, first + static_cast<std::ptrdiff_t>(slots));
      for (std::int64_t& of_slot : of_slots) of_slot *= gathered_;
      std::sort(of_slots.begin(), of_slots.end(), std::greater<>());
      of_slots.push_back(sent);
      const std::int64_t computed = rows.of_rank(static_cast<std::int64_t>(rank)) * gathered_;
      loads_.most_rows_ = std::max(loads_.most_rows_, computed);
      loads_.work_of_rank_.push_back(number_of_work(shape, std::move(of_slots)));
    }
    return all;
  }

  /// `rows` of the rank's slots, and behind them those that it sends out.
  std::uint32_t number_of_work(std::size_t shape, std::vector<std::int64_t> rows) {
    const auto next = static_cast<std::uint32_t>(loads_.works_.size());
    const auto [known, is_new] = known_[shape].try_emplace(std::move(rows), next);
    if (is_new) loads_.works_.push_back(work_of(shape, known->first));
    return known->second;
  }

  ExpertWork work_of(std::size_t layer, std::span<const std::int64_t> rows_and_sent) const {
    const std::span<const std::int64_t> rows = rows_and_sent.first(rows_and_sent.size() - 1);
    Share share = share_of(scenario_);
    share.expert_rows = rows;
    share.dispatched_rows = rows_and_sent.back();
    const BlockOps ops = lower_feed_forward(scenario_.model, layer, share, scenario_.recompute);
    return {.rows = std::accumulate(rows.begin(), rows.end(), std::int64_t{0}),
            .times = times_of(ops, scenario_),
            .activations = ops.activations};
  }

  const Scenario& scenario_;
  ExpertLoads& loads_;
  std::int64_t gathered_;  ///< expert groups whose rows are computed together
  std::vector<std::map<std::vector<std::int64_t>, std::uint32_t>> known_;  // by shape
};

ExpertLoads::ExpertLoads(const Scenario& scenario) { Maker(scenario, *this).make(); }

RankRows ExpertLoads::rows(const Scenario& scenario, std::uint32_t number) const {
  const Origin& origin = origins_[number];
  const Experts& experts = scenario.model.layers[static_cast<std::size_t>(origin.layer)].experts;
  const Loads loads = scenario.router.loads(gate_of(experts), origin.layer, origin.microbatch, origin.group,
                                            scenario.layout.sizes().expert, tokens_per_device(scenario));
  return rank_rows(loads, placement(origin.layer));
}

bool has_uneven_loads(const Scenario& scenario) {
  const auto is_uneven = [&](const Layer& layer) {
    return layer.is_moe && (scenario.redundant_experts > 0 ||
                            !scenario.router.is_even(gate_of(layer.experts), tokens_per_device(scenario)));
  };
  return std::any_of(scenario.model.layers.begin(), scenario.model.layers.end(), is_uneven);
}

std::int64_t nodes_of(std::span<const DeviceId> group, const Fabric& fabric) {
  std::set<std::uint32_t> nodes;
  for (const DeviceId device : group) nodes.insert(fabric.node_of(device));
  return static_cast<std::int64_t>(nodes.size());
}

}  // namespace moesim
