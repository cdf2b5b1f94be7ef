// Layers of a kind that differ by what of them is computed again, as their place in a stage has it.
#include <algorithm>
#include <bit>

#include "sim/estimate/costs.hpp"

namespace moesim {
namespace {

/// Then how many rows a rank permutes depends on the ranks that hold the experts, too.
bool drops_rows(const Scenario& scenario) {
  const std::vector<Layer>& layers = scenario.model.layers;
  for (std::size_t layer = 0; layer < layers.size(); ++layer) {
    if (layers[layer].is_moe && kept_choices(scenario, layer) < 1) return true;
  }
  return false;
}

}  // namespace

/// But for attention, tokens are alike whichever sequence they are from.
CostTables::VariantCosts CostTables::of_variant(std::size_t variant, std::int64_t recompute_number) {
  scenario_.recompute = recompute_.of(variant);
  const Sizes& sizes = scenario_.layout.sizes();
  const std::int64_t again = 2 * recompute_number + static_cast<std::int64_t>(variant);
  const std::int64_t tokens = share_of(scenario_).tokens();
  const std::int64_t droppers = drops_rows(scenario_) ? sizes.expert : 0;
  return {attention({sizes.tensor, sizes.context, scenario_.batch.microbatch, again, droppers, 0}),
          feed_forward({sizes.tensor, tokens, again, sizes.expert, sizes.expert_tensor,
                        std::bit_cast<std::int64_t>(scenario_.routing_spread)})};
}

void CostTables::slow_communication(BesideCompute compute, std::int64_t recompute_number) {
  std::vector<VariantCosts> variants;
  for (std::size_t variant = 0; variant < recompute_.variants(); ++variant)
    variants.push_back(of_variant(variant, recompute_number));
  for (std::size_t layer = 0; layer < kind_of_layer_.size(); ++layer) {
    const std::int64_t place = scenario_.place_in_stage(static_cast<std::int64_t>(layer));
    const VariantCosts& costs = variants[recompute_.variant(place)];
    compute.add(costs.attentions[kind_of_layer_[layer]].times);
    compute.add(costs.feed_forwards[kind_of_layer_[layer]].times);
  }
  prices_.slow_communication(compute.mean());
}

void CostTables::add_variant(std::size_t variant, std::int64_t recompute_number, MicrobatchCost& cost) {
  const auto& [attentions, feed_forwards] = of_variant(variant, recompute_number);
  for (std::size_t kind = 0; kind < layer_of_kind_.size(); ++kind) {
    cost.layers.push_back(layer(kind, attentions[kind], feed_forwards[kind]));
    cost.exchange_buffer = std::max(cost.exchange_buffer, feed_forwards[kind].exchange_buffer);
    cost.context_buffer = std::max(cost.context_buffer, attentions[kind].context_buffer);
  }
  scenario_.recompute = recompute_;
}

}  // namespace moesim
