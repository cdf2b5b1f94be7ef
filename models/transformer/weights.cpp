#include "models/transformer/weights.hpp"

#include <algorithm>

namespace moesim {
namespace {

std::int64_t part_of(std::int64_t size, std::int64_t ranks) {
  return size == 0 ? 0 : std::max<std::int64_t>(1, size / ranks);
}

void add_queries(const Attention& a, std::int64_t hidden, std::int64_t tensor, Weights& weights) {
  const std::int64_t queries = part_of(a.heads * a.head_dim, tensor);
  if (!a.is_latent()) {
    weights.add({queries, hidden});
    weights.add({part_of(a.kv_heads * a.head_dim, tensor), hidden});
    weights.add({part_of(a.kv_heads * a.value_head_dim, tensor), hidden});
    return;
  }
  weights.add({a.q_lora_rank, hidden});
  weights.add({queries, a.q_lora_rank > 0 ? a.q_lora_rank : hidden});
  weights.add({a.kv_lora_rank + a.rope_head_dim, hidden});
  const std::int64_t unrotated = a.head_dim - a.rope_head_dim;
  weights.add({part_of(a.heads * (unrotated + a.value_head_dim), tensor), a.kv_lora_rank});
}

std::int64_t vectors_of(const Attention& a) {
  const std::int64_t norms = (a.qk_norm ? 2 : 0) + (a.q_lora_rank > 0 ? 1 : 0) + (a.kv_lora_rank > 0 ? 1 : 0);
  return norms + (a.qkv_bias ? 3 : 0) + (a.output_bias ? 1 : 0) + (a.sinks ? 1 : 0);
}

/// Of one feed-forward, or of a stack of experts.
void add_pair(std::int64_t hidden, std::int64_t width, bool gated, std::int64_t stack, Weights& weights) {
  const std::int64_t first = gated ? 2 : 1;
  weights.add({width, hidden, first * stack, stack > 1 ? 1 : first});
  weights.add({hidden, width, stack, 1});
}

}  // namespace

Weights attention_weights(const Model& model, std::size_t index, std::int64_t tensor) {
  const Layer& layer = at(model.layers, index);
  const Attention& a = layer.attention;
  const std::int64_t attentions = layer.cross_attention ? 2 : 1, norms = model.norm_bias ? 2 : 1;
  Weights weights;
  for (std::int64_t i = 0; i < attentions; ++i) {
    add_queries(a, model.hidden, tensor, weights);
    weights.add({model.hidden, part_of(a.heads * a.value_head_dim, tensor)});
  }
  weights.vectors = (1 + attentions) * norms + attentions * vectors_of(a);
  if (!model.is_prediction(index)) return weights;
  weights.add({part_of(model.hidden, tensor), 2 * model.hidden});
  weights.vectors += 3 * norms;
  return weights;
}

Weights feed_forward_weights(const Model& model, std::size_t index, std::int64_t tensor) {
  const Layer& layer = at(model.layers, index);
  Weights weights;
  if (!layer.is_moe) {
    const FeedForward& f = layer.feed_forward;
    add_pair(model.hidden, part_of(f.width, tensor), f.gated, 1, weights);
    weights.vectors = f.bias ? (f.gated ? 3 : 2) : 0;
    return weights;
  }
  const Experts& e = layer.experts;
  weights.add({.rows = e.count, .columns = model.hidden, .narrow = false});
  add_pair(model.hidden, part_of(e.shared_width, tensor), e.gated, 1, weights);
  if (e.shared_gate) weights.add({.rows = 1, .columns = model.hidden, .narrow = false});
  weights.vectors = e.router_bias ? 1 : 0;
  return weights;
}

Weights expert_weights(const Model& model, std::size_t index, std::int64_t expert_tensor,
                       std::int64_t slots) {
  const Layer& layer = at(model.layers, index);
  Weights weights;
  if (!layer.is_moe) return weights;
  const Experts& e = layer.experts;
  add_pair(model.hidden, part_of(e.width, expert_tensor), e.gated, slots, weights);
  weights.vectors = e.bias ? 2 : 0;
  return weights;
}

}  // namespace moesim
