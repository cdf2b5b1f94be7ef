#include "sim/work/moves.hpp"

#include <map>
#include <utility>

#include "models/base/at.hpp"
#include "models/routing/expert_moves.hpp"
#include "sim/scenario/layers.hpp"
#include "sim/work/expert_loads.hpp"
#include "sim/work/update_bytes.hpp"

namespace moesim {
namespace {

/// The pipeline ranks that hold a layer: two where the schedule holds the model twice.
std::vector<std::vector<std::int64_t>> ranks_of_layers(const Scenario& scenario) {
  std::vector<std::vector<std::int64_t>> ranks(scenario.model.layers.size());
  for (std::int64_t rank = 0; rank < scenario.layout.sizes().pipeline; ++rank) {
    for (const std::int64_t layer : layers_of_rank(scenario, rank)) at(ranks, layer).push_back(rank);
  }
  return ranks;
}

}  // namespace

Bytes bytes_of_expert(const Scenario& scenario, std::int64_t layer, Carried carried) {
  const Holdings all = feed_forward_holdings(scenario, layer);
  const std::int64_t slots = scenario.slots_per_rank(at(scenario.model.layers, layer).experts);
  HeldElements one{.experts = all.experts() / slots, .expert_tensors = all.expert_tensors};
  one.expert_tensors.factors /= slots;
  const UpdateBytes bytes = update_bytes(one, holders_of(scenario), scenario.gradient_sync, scenario);
  return carried == Carried::weights ? bytes.parameters : bytes.parameters + bytes.optimizer;
}

std::vector<Flow> moving_flows(const Scenario& scenario, const Placements& before, const Placements& after) {
  const std::vector<std::vector<std::int64_t>> pipeline_ranks = ranks_of_layers(scenario);
  const std::vector<Group> groups = scenario.layout.expert_groups();
  const std::int64_t nodes = even_nodes(scenario);
  std::map<std::pair<DeviceId, DeviceId>, double> bytes;
  for (std::size_t i = 0; i < after.size(); ++i) {
    const auto layer = static_cast<std::int64_t>(i);
    if (!scenario.model.layers[i].is_moe) continue;
    const std::vector<ExpertMove> moves = moves_between(before[i], after[i], nodes);
    if (moves.empty()) continue;
    const Bytes each = bytes_of_expert(scenario, layer, scenario.drift->rebalance.carries);
    for (const std::int64_t pipeline_rank : pipeline_ranks[i]) {
      for (const Group& group : groups) {
        for (const ExpertMove& move : moves) {
          const std::pair way{scenario.layout.device(pipeline_rank, at(group, move.from)),
                              scenario.layout.device(pipeline_rank, at(group, move.to))};
          bytes[way] += static_cast<double>(each.count);
        }
      }
    }
  }
  std::vector<Flow> flows;
  for (const auto& [way, all] : bytes) flows.push_back({way.first, way.second, all});
  return flows;
}

}  // namespace moesim
