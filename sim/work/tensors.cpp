#include "sim/work/tensors.hpp"

#include <algorithm>
#include <numeric>

#include "models/base/at.hpp"
#include "sim/work/holdings.hpp"

namespace moesim {
namespace {

/// Matrices that tensor parallelism divides, and those that it leaves whole.
struct Matrices {
  std::vector<std::int64_t> divided, whole;
};

Matrices of_attention(std::int64_t hidden, const Attention& a) {
  const std::int64_t output = a.heads * a.value_head_dim * hidden, queries = a.heads * a.head_dim;
  if (!a.is_latent()) {
    return {
        {output, hidden * a.kv_heads * a.value_head_dim, hidden * a.kv_heads * a.head_dim, hidden * queries},
        {}};
  }
  const std::int64_t keys_and_values = a.heads * (a.head_dim - a.rope_head_dim + a.value_head_dim);
  Matrices all{{output, a.kv_lora_rank * keys_and_values}, {hidden * (a.kv_lora_rank + a.rope_head_dim)}};
  if (a.q_lora_rank > 0) {
    all.divided.push_back(a.q_lora_rank * queries);
    all.whole.push_back(hidden * a.q_lora_rank);
  } else {
    all.divided.push_back(hidden * queries);
  }
  return all;
}

Matrices of_feed_forward(std::int64_t hidden, std::int64_t width, bool gated) {
  if (width == 0) return {};
  return {std::vector<std::int64_t>(gated ? 3 : 2, hidden * width), {}};
}

/// Matrices, as far as the block has so much, and what is left of it.
std::vector<std::int64_t> tensors_of(const Matrices& matrices, std::int64_t tensor, std::int64_t held) {
  std::vector<std::int64_t> tensors;
  const auto add = [&](std::int64_t elements) {
    if (elements <= 0 || elements > held) return;
    tensors.push_back(elements);
    held -= elements;
  };
  for (const std::int64_t matrix : matrices.divided) add(matrix / tensor);
  for (const std::int64_t matrix : matrices.whole) add(matrix);
  add(held);
  return tensors;
}

/// Inputs' and outputs' matrices of all experts of a device.
std::vector<std::int64_t> of_experts(const Experts& experts, std::int64_t held) {
  if (held == 0) return {};
  const std::int64_t outputs = held / (experts.gated ? 3 : 2);
  return {outputs, held - outputs};
}

}  // namespace

BlockTensors block_tensors(const Scenario& scenario, Activity block, std::int64_t layer) {
  const Holdings held = block_holdings(scenario, block, layer);
  const std::int64_t tensor = scenario.layout.sizes().tensor;
  const std::int64_t hidden = scenario.model.hidden;
  if (block == Activity::embedding || block == Activity::head) {
    const std::int64_t matrix = held.of(HeldPart::embedding);
    return {tensors_of({{matrix * tensor}, {}}, tensor, held.replicated()), {}};
  }
  const Layer& shape = at(scenario.model.layers, layer);
  if (block == Activity::attention)
    return {tensors_of(of_attention(hidden, shape.attention), tensor, held.replicated()), {}};
  if (!shape.is_moe) {
    const FeedForward& f = shape.feed_forward;
    return {tensors_of(of_feed_forward(hidden, f.width, f.gated), tensor, held.replicated()), {}};
  }
  const Experts& e = shape.experts;
  return {tensors_of(of_feed_forward(hidden, e.shared_width, e.gated), tensor, held.replicated()),
          of_experts(e, held.experts())};
}

}  // namespace moesim
