#include "sim/scenario/holdings.hpp"

namespace moesim {
namespace {

/// Norms that belong to no layer: those after the last one.
std::int64_t final_norms(const Model& model, const Parameters& whole) {
  std::int64_t norms = whole.norms;
  for (std::size_t layer = 0; layer < model.layers.size(); ++layer)
    norms -= layer_parameters(model, layer).norms;
  return norms;
}

void add_stage(const Scenario& scenario, std::int64_t stage, Holdings& held) {
  const Sizes& sizes = scenario.layout.sizes();
  const Parameters whole = model_parameters(scenario.model, true);
  const std::int64_t first = scenario.first_layer(stage);
  for (std::int64_t layer = first; layer < first + scenario.layers_per_stage[static_cast<std::size_t>(stage)];
       ++layer) {
    const Parameters parameters = layer_parameters(scenario.model, static_cast<std::size_t>(layer));
    // Routers and norms are small and whole on every tensor-parallel rank.
    const std::int64_t whole_on_each = parameters.router + parameters.norms;
    held.replicated += whole_on_each + (parameters.replicated() - whole_on_each) / sizes.tensor;
    held.experts += parameters.experts / sizes.expert;
    const Layer& shape = scenario.model.layers[static_cast<std::size_t>(layer)];
    if (shape.is_moe)
      held.experts += parameters.experts / shape.experts.count * (scenario.redundant_experts / sizes.expert);
  }
  const bool last = stage + 1 == scenario.order.model_stages();
  if (last) held.replicated += final_norms(scenario.model, whole);
  if (stage == 0) held.replicated += whole.embedding / sizes.tensor;
  // A tied head is the embedding again where both are on one rank, and a copy of it elsewhere.
  if (last && (scenario.order.model_stages() > 1 || whole.head > 0)) {
    held.replicated += (whole.head > 0 ? whole.head : whole.embedding) / sizes.tensor;
  }
}

void for_each_stage(const Scenario& scenario, std::int64_t pipeline_rank, auto visit) {
  for (const std::vector<Place>& chain : scenario.order.chains) {
    for (std::size_t stage = 0; stage < chain.size(); ++stage) {
      if (chain[stage].rank == pipeline_rank) visit(static_cast<std::int64_t>(stage));
    }
  }
}

/// For each expert, the ranks that hold it, each once, in order.
std::vector<std::vector<std::int64_t>> ranks_of_experts(const ExpertPlacement& placement,
                                                        std::int64_t experts) {
  std::vector<std::vector<std::int64_t>> ranks(static_cast<std::size_t>(experts));
  for (std::size_t slot = 0; slot < placement.expert_of_slot.size(); ++slot) {
    const std::int64_t rank = static_cast<std::int64_t>(slot) / placement.slots_per_rank();
    std::vector<std::int64_t>& of_expert = ranks[static_cast<std::size_t>(placement.expert_of_slot[slot])];
    if (of_expert.empty() || of_expert.back() != rank) of_expert.push_back(rank);
  }
  return ranks;
}

void add_copy_sums(const Scenario& scenario, std::int64_t layer, std::vector<CopySum>& sums) {
  const Layer& shape = scenario.model.layers[static_cast<std::size_t>(layer)];
  if (!shape.is_moe) return;
  const std::int64_t all = layer_parameters(scenario.model, static_cast<std::size_t>(layer)).experts;
  const Bytes gradients = size_of(scenario.precision.gradient) * (all / shape.experts.count);
  for (std::vector<std::int64_t>& ranks :
       ranks_of_experts(scenario.loads->placement(layer), shape.experts.count)) {
    if (ranks.size() > 1) sums.push_back({std::move(ranks), gradients});
  }
}

}  // namespace

Holdings holdings(const Scenario& scenario, std::int64_t pipeline_rank) {
  Holdings held;
  for_each_stage(scenario, pipeline_rank, [&](std::int64_t stage) { add_stage(scenario, stage, held); });
  return held;
}

std::vector<CopySum> copy_sums(const Scenario& scenario, std::int64_t pipeline_rank) {
  std::vector<CopySum> sums;
  if (!scenario.loads || scenario.redundant_experts == 0) return sums;
  for_each_stage(scenario, pipeline_rank, [&](std::int64_t stage) {
    const std::int64_t first = scenario.first_layer(stage);
    const std::int64_t count = scenario.layers_per_stage[static_cast<std::size_t>(stage)];
    for (std::int64_t layer = first; layer < first + count; ++layer) add_copy_sums(scenario, layer, sums);
  });
  return sums;
}

double optimizer_bytes_moved(const PrecisionPlan& precision) {
  const auto gradient = static_cast<double>(size_of(precision.gradient).count);
  const auto moment = static_cast<double>(size_of(precision.moments).count);
  constexpr double master = 4;
  constexpr double parameter = 2;
  return gradient + 2 * master + 4 * moment + parameter;
}

}  // namespace moesim
