#include "sim/work/tensors.hpp"

#include <algorithm>

#include "models/transformer/weights.hpp"
#include "sim/work/holdings.hpp"

namespace moesim {
namespace {

/// Matrices in the reverse order of forward, as far as the block has so much; what is left are its vectors.
std::vector<std::int64_t> tensors_of(const Weights& weights, std::int64_t held) {
  std::vector<std::int64_t> tensors;
  const std::span<const Weight> matrices = weights.matrices();
  for (auto weight = matrices.rbegin(); weight != matrices.rend(); ++weight) {
    for (std::int64_t i = 0; i < weight->tensors; ++i) {
      const std::int64_t elements = std::min(held, weight->elements() / weight->tensors);
      if (elements > 0) tensors.push_back(elements);
      held -= elements;
    }
  }
  for (std::int64_t left = std::max<std::int64_t>(1, weights.vectors); held > 0 && left > 0; --left) {
    tensors.push_back((held + left - 1) / left);
    held -= tensors.back();
  }
  return tensors;
}

/// A matrix, and norms beside it.
std::vector<std::int64_t> tensors_of_end(const Holdings& held) {
  std::vector<std::int64_t> tensors;
  for (const HeldPart part : {HeldPart::embedding, HeldPart::norm})
    if (held.of(part) > 0) tensors.push_back(held.of(part));
  return tensors;
}

}  // namespace

BlockTensors block_tensors(const Scenario& scenario, Activity block, std::int64_t layer) {
  const Holdings held = block_holdings(scenario, block, layer);
  if (block == Activity::embedding || block == Activity::head) return {tensors_of_end(held), {}};
  const Sizes& sizes = scenario.layout.sizes();
  const Model& model = scenario.model;
  const auto index = static_cast<std::size_t>(layer);
  if (block == Activity::attention)
    return {tensors_of(attention_weights(model, index, sizes.tensor), held.replicated()), {}};
  BlockTensors tensors{tensors_of(feed_forward_weights(model, index, sizes.tensor), held.replicated()), {}};
  if (!model.layers[index].is_moe) return tensors;
  const std::int64_t slots = scenario.slots_per_rank(model.layers[index].experts);
  tensors.experts = tensors_of(expert_weights(model, index, sizes.expert_tensor, slots), held.experts());
  return tensors;
}

}  // namespace moesim
