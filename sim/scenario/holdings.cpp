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
    held.experts += parameters.experts / (sizes.expert * sizes.expert_tensor);
  }
  const bool last = stage + 1 == scenario.order.model_stages();
  if (last) held.replicated += final_norms(scenario.model, whole);
  if (stage == 0) held.replicated += whole.embedding / sizes.tensor;
  // A tied head is the embedding again where both are on one rank, and a copy of it elsewhere.
  if (last && (scenario.order.model_stages() > 1 || whole.head > 0)) {
    held.replicated += (whole.head > 0 ? whole.head : whole.embedding) / sizes.tensor;
  }
}

}  // namespace

Holdings holdings(const Scenario& scenario, std::int64_t pipeline_rank) {
  Holdings held;
  for (const std::vector<Place>& chain : scenario.order.chains) {
    for (std::size_t stage = 0; stage < chain.size(); ++stage) {
      if (chain[stage].rank == pipeline_rank) add_stage(scenario, static_cast<std::int64_t>(stage), held);
    }
  }
  return held;
}

double optimizer_bytes_moved(const PrecisionPlan& precision) {
  const auto gradient = static_cast<double>(size_of(precision.gradient).count);
  const auto moment = static_cast<double>(size_of(precision.moments).count);
  constexpr double master = 4;
  constexpr double parameter = 2;
  return gradient + 2 * master + 4 * moment + parameter;
}

}  // namespace moesim
