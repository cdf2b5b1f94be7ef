// A transformer as a value: its layers, how many parameters each has, and what each does.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "models/base/precision.hpp"
#include "models/base/units.hpp"
#include "models/config/reader.hpp"
#include "models/transformer/op.hpp"

namespace moesim {

/// Attention of one layer. Multi-head is kv_heads == heads; grouped-query is kv_heads < heads; latent
/// attention (MLA, DeepSeek-V2 arXiv 2405.04434 section 2.1) has a kv_lora_rank above zero.
struct Attention {
  std::int64_t heads = 1, kv_heads = 1;
  std::int64_t head_dim = 1;  ///< of queries and keys; MLA: nope_head_dim + rope_head_dim
  std::int64_t value_head_dim = 1;
  std::int64_t q_lora_rank = 0;    ///< MLA: 0 is a plain query projection
  std::int64_t kv_lora_rank = 0;   ///< MLA when above 0
  std::int64_t rope_head_dim = 0;  ///< MLA: the part of head_dim that carries position, shared by all heads
  std::int64_t window = 0;         ///< sliding window; 0 is the whole sequence
  bool qkv_bias = false, output_bias = false, qk_norm = false, sinks = false;
  bool is_latent() const { return kv_lora_rank > 0; }
  friend bool operator==(const Attention&, const Attention&) = default;
};

/// A dense feed-forward: gated (SwiGLU, GEGLU: three matrices) or two matrices.
struct FeedForward {
  std::int64_t width = 0;
  bool gated = true;
  bool bias = false;
  friend bool operator==(const FeedForward&, const FeedForward&) = default;
};

/// A mixture-of-experts feed-forward.
struct Experts {
  std::int64_t count = 0;  ///< routed experts
  std::int64_t top_k = 1;
  std::int64_t width = 0;          ///< hidden size of one routed expert
  std::int64_t shared = 0;         ///< shared experts, always on
  std::int64_t shared_width = 0;   ///< hidden size of all shared experts together
  std::int64_t groups = 1;         ///< group-limited routing: expert groups (nodes) ...
  std::int64_t chosen_groups = 1;  ///< ... and how many of them a token may reach
  bool gated = true;
  bool bias = false;
  bool router_bias = false;  ///< a number per expert beside the router's matrix: bias or correction of scores
  bool shared_gate = false;  ///< a sigmoid gate on the shared experts (Qwen2-MoE): one row of weights
  friend bool operator==(const Experts&, const Experts&) = default;
};

/// One layer: attention, for decoders of encoder-decoder stacks cross attention, and a dense or MoE
/// feed-forward.
struct Layer {
  Attention attention;
  bool causal = true;
  bool cross_attention = false;
  bool is_moe = false;
  FeedForward feed_forward;  ///< when not MoE
  Experts experts;           ///< when MoE
  friend bool operator==(const Layer&, const Layer&) = default;
};

/// A whole model. Layers come in the order in which a token meets them: encoder first, then decoder, then the
/// layers of multi-token prediction.
struct Model {
  std::string name;
  std::int64_t hidden = 1;
  std::int64_t vocabulary = 1;
  std::int64_t source_vocabulary =
      0;                            ///< encoder-decoder: the encoder's own vocabulary; 0 shares `vocabulary`
  std::int64_t positions = 0;       ///< learned position embeddings
  bool tied_embedding = false;      ///< head and embedding share one matrix
  bool norm_bias = false;           ///< LayerNorm (weight and bias) instead of RMSNorm
  std::int64_t encoder_layers = 0;  ///< leading layers that form the encoder
  std::int64_t prediction_layers = 0;  ///< trailing layers that predict further tokens (MTP)
  std::vector<Layer> layers;
  /// Whether a layer belongs to the encoder of an encoder-decoder.
  bool is_encoder(std::size_t layer) const { return layer < static_cast<std::size_t>(encoder_layers); }
  /// Whether a layer belongs to multi-token prediction.
  bool is_prediction(std::size_t layer) const {
    return layer + static_cast<std::size_t>(prediction_layers) >= layers.size();
  }
  /// Whether some layer has experts.
  bool has_experts() const {
    return std::any_of(layers.begin(), layers.end(), [](const Layer& layer) { return layer.is_moe; });
  }
  friend bool operator==(const Model&, const Model&) = default;
};

/// Reads a model file. Its keys are in docs/scenarios.md.
Model read_model(Reader& reader);

/// One part of a model file with its keys, as `moesim describe` lists them.
struct ModelPart {
  std::string name;  ///< "" is the file itself, else "attention (latent)", "feed_forward", "moe", ...
  std::vector<Declaration> keys;
};
/// Every part of a model file, as the reader declares its keys.
std::vector<ModelPart> describe_model();

/// Parameters by where they live. Counts of elements, of one layer or the whole model. Biases and attention
/// sinks count where their matrix does, a correction bias of the router to the router, all norms (of heads
/// and latents too) to the norms. Left out: T5's relative position biases (32 values per head and stack).
struct Parameters {
  std::int64_t embedding = 0, head = 0, attention = 0, router = 0, feed_forward = 0, shared = 0, experts = 0,
               norms = 0;
  /// All of them.
  std::int64_t total() const { return replicated() + experts; }
  /// All but routed experts: what every data-parallel rank holds.
  std::int64_t replicated() const {
    return embedding + head + attention + router + feed_forward + shared + norms;
  }
};

/// Elements of an attention's projections down to latents; 0 without. Tensor parallelism leaves them whole.
std::int64_t down_projections(std::int64_t hidden, const Attention& attention);
/// Parameters of one layer (embedding and head are zero; a prediction layer includes its projection, counted
/// to the attention, and its norms).
Parameters layer_parameters(const Model& model, std::size_t layer);
/// Parameters of the whole model. `with_prediction` counts the multi-token prediction layers too.
Parameters model_parameters(const Model& model, bool with_prediction = false);
/// Parameters that one token uses: all but the routed experts it is not sent to.
std::int64_t active_parameters(const Model& model);
/// The same without what a token only looks up: the input embedding (but not where it is the head too) and
/// learned positions. Some model cards count so, as that of gpt-oss.
std::int64_t active_parameters_without_embedding(const Model& model);
/// FLOPs of forward and backward per token at this sequence length: 6 per element of every weight matrix that
/// a token meets (the router and the head too, not the embedding's lookup, norms or biases) plus three times
/// the attention's forward products. Causal counts only the scores that are needed: half the square, S w -
/// w^2/2 with a window w; else S^2 (S w). Recomputation never counts. A token of an encoder-decoder is one
/// source and one target position. The multi-token prediction layers, each with one more use of the head,
/// count when `with_prediction`. `target`: tokens of a sequence in the decoder; 0 is `sequence`, and with
/// others the FLOPs are those of a sequence over its source tokens. The convention is that of arXiv
/// 2505.09343, Table 2, for its MoE rows; its dense rows (394 and 2448 GFLOP) equal 6 (12 L h^2 + h V), which
/// takes any feed-forward for 8 h^2 and leaves the scores out.
Flops training_flops_per_token(const Model& model, std::int64_t sequence, bool causal = true,
                               bool with_prediction = false, std::int64_t target = 0);

}  // namespace moesim
