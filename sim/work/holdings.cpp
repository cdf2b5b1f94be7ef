#include "sim/work/holdings.hpp"

#include <algorithm>
#include <numeric>
#include <utility>

#include "models/base/at.hpp"
#include "models/transformer/weights.hpp"
#include "sim/scenario/layers.hpp"
#include "sim/schedule/stage.hpp"
#include "sim/work/expert_loads.hpp"

namespace moesim {
namespace {

/// Norms that belong to no layer: those after the last one.
std::int64_t final_norms(const Model& model, const Parameters& whole) {
  std::int64_t norms = whole.norms;
  for (std::size_t layer = 0; layer < model.layers.size(); ++layer)
    norms -= layer_parameters(model, layer).norms;
  return norms;
}

/// Of a block with so many elements: those that are in no matrix are in vectors.
HeldTensors tensors_of(const Weights& weights, std::int64_t elements) {
  HeldTensors held{.rest = weights.vectors};
  for (const Weight& weight : weights.matrices()) {
    held.matrices += weight.tensors;
    held.factors += (weight.rows + weight.columns) * weight.count;
    held.largest = std::max(held.largest, weight.elements() / weight.tensors);
    elements -= weight.elements();
  }
  held.factors += std::max<std::int64_t>(0, elements);
  return held;
}

/// Of a block with so many elements in a layer: those of matrices that are cast for its products.
std::int64_t narrow_of(const Scenario& scenario, std::size_t layer, const Weights& weights,
                       std::int64_t elements) {
  if (bytes_each(scenario.gemm_of(layer)) >= bytes_each(Precision::bf16)) return 0;
  std::int64_t narrow = 0;
  for (const Weight& weight : weights.matrices()) narrow += weight.narrow ? weight.elements() : 0;
  return std::min(narrow, elements);
}

/// Of a matrix at an end of the model.
HeldTensors tensors_of_end(const Model& model, std::int64_t elements) {
  if (elements == 0) return {};
  return {.rest = 1, .largest = elements, .factors = elements / model.hidden + model.hidden};
}

/// For each expert, the ranks that hold it, each once, in order.
std::vector<std::vector<std::int64_t>> ranks_of_experts(const ExpertPlacement& placement,
                                                        std::int64_t experts) {
  std::vector<std::vector<std::int64_t>> ranks(static_cast<std::size_t>(experts));
  for (std::size_t slot = 0; slot < placement.expert_of_slot.size(); ++slot) {
    const std::int64_t rank = static_cast<std::int64_t>(slot) / placement.slots_per_rank();
    std::vector<std::int64_t>& of_expert = at(ranks, placement.expert_of_slot[slot]);
    if (of_expert.empty() || of_expert.back() != rank) of_expert.push_back(rank);
  }
  return ranks;
}

void add_copy_sums(const Scenario& scenario, const ExpertLoads& loads, std::int64_t layer,
                   std::vector<CopySum>& sums) {
  const Layer& shape = at(scenario.model.layers, layer);
  if (!shape.is_moe) return;
  const std::int64_t all = layer_parameters(scenario.model, static_cast<std::size_t>(layer)).experts;
  const std::int64_t of_one = all / (shape.experts.count * scenario.layout.sizes().expert_tensor);
  const Bytes gradients = size_of(scenario.precision.gradient) * of_one;
  for (std::vector<std::int64_t>& ranks : ranks_of_experts(loads.placement(layer), shape.experts.count)) {
    if (ranks.size() > 1) sums.push_back({std::move(ranks), gradients});
  }
}

}  // namespace

std::int64_t Holdings::replicated() const {
  return std::accumulate(parts.begin(), parts.end(), std::int64_t{0}) - experts();
}

Holdings& Holdings::operator+=(const Holdings& more) {
  for (std::size_t part = 0; part < held_part_count; ++part) parts[part] += more.parts[part];
  tensors += more.tensors;
  expert_tensors += more.expert_tensors;
  narrow += more.narrow;
  narrow_experts += more.narrow_experts;
  return *this;
}

HeldTensors& HeldTensors::operator+=(const HeldTensors& more) {
  matrices += more.matrices;
  rest += more.rest;
  largest = std::max(largest, more.largest);
  factors += more.factors;
  return *this;
}

// Routers and norms are small and whole on every tensor-parallel rank. Down-projections of latent attention
// are too: their rows are divided, not their columns (Megatron-LM, core/transformer/
// multi_latent_attention.py, parallel_mode "duplicated").
Holdings attention_holdings(const Scenario& scenario, std::int64_t layer) {
  const auto index = static_cast<std::size_t>(layer);
  const Parameters parameters = layer_parameters(scenario.model, index);
  const std::int64_t whole = down_projections(scenario.model.hidden, scenario.model.layers[index].attention);
  Holdings held;
  held.of(HeldPart::attention) = whole + (parameters.attention - whole) / scenario.layout.sizes().tensor;
  held.of(HeldPart::norm) = parameters.norms;
  const Weights weights = attention_weights(scenario.model, index, scenario.layout.sizes().tensor);
  held.tensors = tensors_of(weights, held.replicated());
  held.narrow = narrow_of(scenario, index, weights, held.of(HeldPart::attention));
  return held;
}

Holdings feed_forward_holdings(const Scenario& scenario, std::int64_t layer) {
  const Sizes& sizes = scenario.layout.sizes();
  const auto index = static_cast<std::size_t>(layer);
  const Parameters parameters = layer_parameters(scenario.model, index);
  Holdings held;
  held.of(HeldPart::router) = parameters.router;
  held.of(HeldPart::feed_forward) = (parameters.feed_forward + parameters.shared) / sizes.tensor;
  const Weights weights = feed_forward_weights(scenario.model, index, sizes.tensor);
  held.tensors = tensors_of(weights, held.replicated());
  held.narrow = narrow_of(scenario, index, weights, held.of(HeldPart::feed_forward));
  const Layer& shape = at(scenario.model.layers, layer);
  if (shape.is_moe) {
    const std::int64_t slots = scenario.slots_per_rank(shape.experts);
    held.of(HeldPart::experts) = parameters.experts / (shape.experts.count * sizes.expert_tensor) * slots;
    const Weights of_experts = expert_weights(scenario.model, index, sizes.expert_tensor, slots);
    held.expert_tensors = tensors_of(of_experts, held.experts());
    held.narrow_experts = narrow_of(scenario, index, of_experts, held.experts());
  }
  return held;
}

Holdings embedding_holdings(const Scenario& scenario) {
  Holdings held;
  held.of(HeldPart::embedding) =
      model_parameters(scenario.model, true).embedding / scenario.layout.sizes().tensor;
  held.tensors = tensors_of_end(scenario.model, held.of(HeldPart::embedding));
  return held;
}

Holdings head_holdings(const Scenario& scenario, bool is_apart) {
  const Parameters whole = model_parameters(scenario.model, true);
  Holdings held;
  held.of(HeldPart::norm) = final_norms(scenario.model, whole);
  const std::int64_t tensor = scenario.layout.sizes().tensor;
  held.of(HeldPart::embedding) = whole.head / tensor;
  held.tensors = tensors_of_end(scenario.model, held.of(HeldPart::embedding));
  const std::int64_t vectors = held.of(HeldPart::norm);
  if (vectors > 0) held.tensors += {.rest = 1, .largest = vectors, .factors = vectors};
  if (!is_apart) return held;
  held.of(HeldPart::embedding) += embedding_copy(scenario);
  held.tensors += tensors_of_end(scenario.model, embedding_copy(scenario));
  return held;
}

Holdings head_holdings(const Scenario& scenario) {
  return head_holdings(scenario, is_head_apart(scenario.chains));
}

std::int64_t embedding_copy(const Scenario& scenario) {
  const Model& model = scenario.model;
  if (!model.tied_embedding && model.prediction_layers == 0) return 0;
  return model.vocabulary * model.hidden / scenario.layout.sizes().tensor;
}

std::optional<std::array<std::int64_t, 2>> embedding_ranks(const Scenario& scenario) {
  if (embedding_copy(scenario) == 0 || !is_head_apart(scenario.chains)) return std::nullopt;
  const std::vector<Place>& chain = scenario.chains.front();
  return std::array<std::int64_t, 2>{chain.front().rank, chain.back().rank};
}

Holdings block_holdings(const Scenario& scenario, Activity block, std::int64_t layer) {
  switch (block) {
    case Activity::attention:
      return attention_holdings(scenario, layer);
    case Activity::feed_forward:
      return feed_forward_holdings(scenario, layer);
    case Activity::embedding:
      return embedding_holdings(scenario);
    default:
      return head_holdings(scenario);
  }
}

Holdings holdings(const Scenario& scenario, std::int64_t pipeline_rank) {
  Holdings held;
  for (const HeldStage& stage : stages_of(scenario.chains, pipeline_rank)) {
    for (const std::int64_t layer : layers_of(scenario, stage.stage)) {
      held += attention_holdings(scenario, layer);
      held += feed_forward_holdings(scenario, layer);
    }
    if (stage.is_first) held += embedding_holdings(scenario);
    if (stage.is_last) held += head_holdings(scenario);
  }
  return held;
}

std::vector<CopySum> copy_sums(const Scenario& scenario, const ExpertLoads* loads,
                               std::int64_t pipeline_rank) {
  std::vector<CopySum> sums;
  if (loads == nullptr || scenario.redundant_experts == 0) return sums;
  for (const std::int64_t layer : layers_of_rank(scenario, pipeline_rank))
    add_copy_sums(scenario, *loads, layer, sums);
  return sums;
}

}  // namespace moesim
