// Counts of parameters and FLOPs per token: from the same matrices, so that the two cannot disagree.
#include "models/base/error.hpp"
#include "models/transformer/model.hpp"

namespace moesim {
namespace {

/// Matrices of one attention. MLA (arXiv 2405.04434, section 2.1): queries and keys with values through
/// latents, the key's rotary part beside the key latent.
std::int64_t attention_matrices(std::int64_t hidden, const Attention& a) {
  const std::int64_t output = a.heads * a.value_head_dim * hidden;
  const std::int64_t query = a.heads * a.head_dim;
  if (!a.is_latent()) return hidden * (query + a.kv_heads * (a.head_dim + a.value_head_dim)) + output;
  const std::int64_t queries = a.q_lora_rank > 0 ? a.q_lora_rank * (hidden + query) : hidden * query;
  const std::int64_t unrotated = a.head_dim - a.rope_head_dim;
  return queries + hidden * (a.kv_lora_rank + a.rope_head_dim) +
         a.kv_lora_rank * a.heads * (unrotated + a.value_head_dim) + output;
}

std::int64_t attention_vectors(std::int64_t hidden, const Attention& a) {
  const std::int64_t qkv = a.heads * a.head_dim + a.kv_heads * (a.head_dim + a.value_head_dim);
  return (a.qkv_bias ? qkv : 0) + (a.output_bias ? hidden : 0) + (a.sinks ? a.heads : 0);
}

/// Norms inside an attention: of each query and key head, or of the latents.
std::int64_t attention_norms(const Attention& a) {
  return (a.qk_norm ? 2 * a.head_dim : 0) + a.q_lora_rank + a.kv_lora_rank;
}

std::int64_t feed_forward_matrices(std::int64_t hidden, std::int64_t width, bool gated) {
  return (gated ? 3 : 2) * hidden * width;
}

std::int64_t feed_forward_vectors(std::int64_t hidden, std::int64_t width, bool gated) {
  return (gated ? 2 : 1) * width + hidden;
}

std::int64_t shared_matrices(std::int64_t hidden, const Experts& e) {
  return feed_forward_matrices(hidden, e.shared_width, e.gated) + (e.shared_gate ? hidden : 0);
}

std::int64_t expert_parameters(std::int64_t hidden, const Experts& e) {
  return feed_forward_matrices(hidden, e.width, e.gated) +
         (e.bias ? feed_forward_vectors(hidden, e.width, e.gated) : 0);
}

/// Elements of all matrices of a layer that one token is multiplied with.
std::int64_t matrices_met(const Model& model, std::size_t index) {
  const Layer& layer = model.layers[index];
  const std::int64_t h = model.hidden;
  std::int64_t met = attention_matrices(h, layer.attention) * (layer.cross_attention ? 2 : 1);
  if (model.is_prediction(index)) met += 2 * h * h;
  if (!layer.is_moe)
    return met + feed_forward_matrices(h, layer.feed_forward.width, layer.feed_forward.gated);
  const Experts& e = layer.experts;
  return met + h * e.count + e.top_k * feed_forward_matrices(h, e.width, e.gated) + shared_matrices(h, e);
}

/// Elements of matrices that keys and values of a cross attention are made with, out of source tokens.
std::int64_t cross_key_matrices(std::int64_t hidden, const Attention& a) {
  return hidden * a.kv_heads * (a.head_dim + a.value_head_dim);
}

/// Forward FLOPs of one attention of a sequence to another, or to itself.
Flops attention_flops(const Attention& a, std::int64_t sequence, std::int64_t keys, std::int64_t window,
                      bool causal) {
  return make_attention(OpPass::forward,
                        {.heads = a.heads,
                         .kv_heads = a.kv_heads,
                         .sequence = sequence,
                         .kv_sequence = keys,
                         .head_dim = a.head_dim,
                         .value_head_dim = a.value_head_dim,
                         .window = window,
                         .causal = causal},
                        Precision::bf16)
      .flops;
}

}  // namespace

std::int64_t down_projections(std::int64_t hidden, const Attention& a) {
  return a.is_latent() ? hidden * (a.q_lora_rank + a.kv_lora_rank + a.rope_head_dim) : 0;
}

Parameters layer_parameters(const Model& model, std::size_t index) {
  ensure(index < model.layers.size(), "a layer of the model");
  const Layer& layer = model.layers[index];
  const std::int64_t h = model.hidden;
  const std::int64_t attentions = layer.cross_attention ? 2 : 1;
  Parameters p;
  p.attention = attentions * (attention_matrices(h, layer.attention) + attention_vectors(h, layer.attention));
  std::int64_t norms_of_hidden = 1 + attentions;
  if (model.is_prediction(index)) {
    p.attention +=
        2 * h * h;  // joins the hidden state with the next token's embedding (arXiv 2412.19437, eq. 21)
    norms_of_hidden += 3;  // of the hidden state, the embedding, and before the head
  }
  p.norms = norms_of_hidden * h * (model.norm_bias ? 2 : 1) + attentions * attention_norms(layer.attention);
  if (layer.is_moe) {
    const Experts& e = layer.experts;
    p.router = h * e.count + (e.router_bias ? e.count : 0);
    p.shared = shared_matrices(h, e);
    p.experts = e.count * expert_parameters(h, e);
  } else {
    const FeedForward& f = layer.feed_forward;
    p.feed_forward =
        feed_forward_matrices(h, f.width, f.gated) + (f.bias ? feed_forward_vectors(h, f.width, f.gated) : 0);
  }
  return p;
}

Parameters model_parameters(const Model& model, bool with_prediction) {
  Parameters sum;
  sum.embedding = (model.vocabulary + model.source_vocabulary + model.positions) * model.hidden;
  sum.head = model.tied_embedding ? 0 : model.vocabulary * model.hidden;
  const std::int64_t stacks = model.encoder_layers > 0 ? 2 : 1;
  sum.norms = stacks * model.hidden * (model.norm_bias ? 2 : 1);
  for (std::size_t i = 0; i < model.layers.size(); ++i) {
    if (model.is_prediction(i) && !with_prediction) break;
    const Parameters p = layer_parameters(model, i);
    sum.attention += p.attention;
    sum.router += p.router;
    sum.feed_forward += p.feed_forward;
    sum.shared += p.shared;
    sum.experts += p.experts;
    sum.norms += p.norms;
  }
  return sum;
}

std::int64_t active_parameters(const Model& model) {
  std::int64_t active = model_parameters(model).total();
  for (std::size_t i = 0; i < model.layers.size() && !model.is_prediction(i); ++i) {
    const Layer& layer = model.layers[i];
    if (layer.is_moe)
      active -= (layer.experts.count - layer.experts.top_k) * expert_parameters(model.hidden, layer.experts);
  }
  return active;
}

std::int64_t active_parameters_without_embedding(const Model& model) {
  const std::int64_t looked_up =
      model.source_vocabulary + model.positions + (model.tied_embedding ? 0 : model.vocabulary);
  return active_parameters(model) - looked_up * model.hidden;
}

Flops training_flops_per_token(const Model& model, std::int64_t sequence, bool causal, bool with_prediction,
                               std::int64_t target) {
  ensure(sequence >= 1 && target >= 0, "a sequence of at least one token");
  const std::int64_t targets = target > 0 ? target : sequence;
  const std::int64_t heads_used = 1 + (with_prediction ? model.prediction_layers : 0);
  // Of all tokens, then by their part of the sequence's: equal lengths keep their sums to the last digit.
  const double of_targets = static_cast<double>(targets) / static_cast<double>(sequence);
  double matrices = of_targets * static_cast<double>(heads_used * model.vocabulary * model.hidden);
  Flops scores;
  for (std::size_t i = 0; i < model.layers.size(); ++i) {
    if (model.is_prediction(i) && !with_prediction) break;
    const Layer& layer = model.layers[i];
    const std::int64_t length = model.is_encoder(i) ? sequence : targets;
    const std::int64_t of_sources =
        layer.cross_attention ? cross_key_matrices(model.hidden, layer.attention) : 0;
    matrices +=
        (model.is_encoder(i) ? 1 : of_targets) * static_cast<double>(matrices_met(model, i) - of_sources) +
        static_cast<double>(of_sources);
    scores +=
        attention_flops(layer.attention, length, length, layer.attention.window, causal && layer.causal);
    if (layer.cross_attention) scores += attention_flops(layer.attention, length, sequence, 0, false);
  }
  return Flops{6 * matrices} + scores * (3 / static_cast<double>(sequence));
}

}  // namespace moesim
