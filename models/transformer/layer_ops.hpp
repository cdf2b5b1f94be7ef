// A layer, the embedding and the head lowered to ops for one device and one microbatch.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "models/transformer/model.hpp"
#include "models/transformer/offload.hpp"
#include "models/transformer/op.hpp"
#include "models/transformer/token_exchange.hpp"

namespace moesim {

/// Which layers are computed again whole: `--recompute-method` of Megatron-Core (core/recompute.py:
/// checkpointed_forward), in each stage by itself.
enum class RecomputeMethod : std::uint8_t {
  all,      ///< every layer, each from its own input
  uniform,  ///< every layer, in spans of so many, each from the input of the span's first layer
  block     ///< the first so many, each from its own input
};

/// What is computed again in backward instead of kept. Combinations are allowed; `full` covers the others.
struct Recompute {
  bool full = false;  ///< whole layers: only their input is kept
  bool norm = false;  ///< outputs of RMSNorm
  bool activation =
      false;  ///< outputs of SwiGLU / GELU; with fp8 their inputs are kept in fp8 (DeepSeek-V3, 3.3.3)
  bool latent = false;     ///< MLA up-projections
  bool attention = false;  ///< the attention core (Korthikanti et al., arXiv 2205.05198, "selective")
  bool experts = false;    ///< the whole expert computation: only the rows that arrived are kept
  // Modules as Megatron-Core has them (core/transformer/transformer_config.py: recompute_modules), beside
  // core_attn and mla_up_proj, which are `attention` and `latent`.
  bool layernorm = false;       ///< norms before attention and feed-forward, not those of latents
  bool moe_act = false;         ///< activation of routed experts alone
  bool mlp = false;             ///< dense feed-forwards whole: only their input is kept
  bool moe = false;             ///< router, exchanges and all experts: only the norm's output is kept
  bool shared_experts = false;  ///< shared experts whole
  // Of layers that are computed again whole.
  RecomputeMethod method = RecomputeMethod::all;
  std::int64_t layers = 0;  ///< of a span, or of a stage
  bool inside = false;      ///< of one layer: its span's first keeps the input from which it is computed

  /// Whether parts of layers are named.
  bool has_parts() const {
    return norm || activation || latent || attention || experts || layernorm || moe_act || mlp || moe ||
           shared_experts;
  }
  bool is_none() const { return !full && !has_parts(); }
  /// Whether layers of one shape differ by their place in a stage.
  bool differs_by_place() const {
    return method == RecomputeMethod::block || (method == RecomputeMethod::uniform && layers > 1);
  }
  /// Ways in which layers of one shape differ, and which of them a layer with that place in its stage,
  /// counted from 0, has.
  std::size_t variants() const { return differs_by_place() ? 2 : 1; }
  std::size_t variant(std::int64_t place) const {
    if (!differs_by_place()) return 0;
    return (method == RecomputeMethod::block ? place < layers : place % layers == 0) ? 0 : 1;
  }
  /// What holds of layers that have that variant.
  Recompute of(std::size_t variant) const {
    Recompute one = *this;
    one.method = RecomputeMethod::all;
    one.layers = 0;
    if (method == RecomputeMethod::block) one.full = variant == 0;
    if (method == RecomputeMethod::uniform) one.inside = variant != 0;
    return one;
  }
  /// Whether a norm's output is computed again.
  bool again(NormOf of) const { return norm || (layernorm && of == NormOf::stream); }
  friend bool operator==(const Recompute&, const Recompute&) = default;
};

/// How keys and values reach the other ranks of a context-parallel group. It decides which kernels an
/// attention core is.
enum class ContextExchange : std::uint8_t {
  all_gather,  ///< all at once, before the attention (Llama 3, arXiv 2407.21783, section 3.3.2)
  ring,        ///< from rank to rank, beside the attention on those that have come (arXiv 2310.01889)
};

/// The part of a microbatch that one device computes.
struct Share {
  std::int64_t sequences = 1;        ///< of the microbatch
  std::int64_t sequence_length = 1;  ///< whole sequence; context parallelism divides it
  std::int64_t tensor = 1;           ///< tensor-parallel size: heads, widths and vocabulary are divided by it
  std::int64_t context = 1;          ///< context-parallel size: rows are divided by it
  ContextExchange context_exchange = ContextExchange::ring;
  bool sequence_parallel = true;  ///< norms and residuals also divided over the tensor group
  bool dropout = false;  ///< of the embedding, of attention's weights, and of each block's result before it
                         ///< is added to the residual stream
  std::int64_t expert_tensor = 1;  ///< tensor-parallel size inside an expert
  std::span<const std::int64_t>
      expert_rows{};  ///< rows that arrive for each local expert (empty: dense layer)
  std::int64_t dispatched_rows =
      0;  ///< rows that this device sends out (its tokens x top-k, or deduplicated)
  /// Tokens that this device gathers for its experts, where tokens of all ranks are gathered; else 0. It
  /// permutes none of its own.
  std::int64_t gathered_tokens = 0;
  Precision gemm = Precision::bf16;  ///< of matrix products; attention, router and head stay bf16
  double fp8_scale = 4.0 / 128;      ///< bytes of scales for each number of an operand in fp8
  Precision dispatch =
      Precision::bf16;  ///< of rows sent to experts (and gradients of their results); fp8 is cast before
  std::int64_t source_length = 0;  ///< encoder sequence that cross attention reads; 0 is sequence_length
  std::int64_t token_group = 0;    ///< tokens that have buffers of experts of their own; 0: all of them
  Fusion fusion{};
  Offload offload{};                 ///< of what is kept
  const Keeping* keeping = nullptr;  ///< null: as fused kernels keep
  /// Rows of the microbatch on this device outside tensor parallelism: sequences x sequence_length / context.
  std::int64_t tokens() const { return sequences * sequence_length / context; }
  /// Rows of norms, residuals and the router: divided over the tensor group too when `sequence_parallel`.
  std::int64_t residual_rows() const {
    return sequence_parallel ? (tokens() + tensor - 1) / tensor : tokens();
  }
  /// Rows that are kept of an input that a tensor-parallel group gathers.
  std::int64_t kept_rows() const {
    return keeping != nullptr && keeping->keeps_gathered() ? tokens() : residual_rows();
  }
};

/// Ops of one block in the three passes, and the bytes it keeps between them. Recomputed ops stand at the
/// head of backward_input; their own pass stays `forward`, which tells them apart and costs them right.
struct BlockOps {
  std::vector<Op> forward, backward_input, backward_weight;
  Bytes activations;  ///< from forward to backward
  Bytes offloaded;    ///< of them, what is in the host's memory meanwhile
  /// From the input gradient to the weight gradient, where the two are passes of their own: what the products
  /// of the latter read, their inputs and the gradients of their outputs (Qi et al., arXiv 2401.10241, table
  /// 1: 32 s b h of a GPT layer). What forward did not keep has been computed again by then, and is held.
  Bytes for_weight;
  Bytes recomputed;  ///< of a block that is computed again whole: what is kept of it then, beside its input
  // Of software that holds memory as it is computed, else none:
  Bytes again;                    ///< what a recomputation of all of it keeps until its backward ends
  Bytes in_forward, in_backward;  ///< that kernels hold at their worst, beside what is kept
};

/// A layer as two blocks with the exchange between them: attention (norms, attention, residual, then router
/// and permute for MoE) | dispatch | feed-forward (shared and routed experts, or dense) | combine. What
/// follows the combine (weighted sum over top-k, residual) counts to the feed-forward block. The norm before
/// a dense feed-forward stands in the attention block too, where the gather of tensor parallelism follows it.
///
/// Sizes are those of the largest part where a division leaves a rest. Kernels are fused as Transformer
/// Engine and Megatron-LM fuse them: bias in the product, activation with its bias and the routing weights,
/// residual with its bias and dropout; weight gradients accumulate in fp32 inside the product.
///
/// With `full`, each block runs its own forward again at the head of its own backward_input. In time the
/// attention block's rerun comes before the feed-forward block's, with the exchange between them once more:
/// that belongs to whoever orders the passes. While a layer runs backward it holds its activations without
/// recomputation as well.
struct LayerOps {
  BlockOps attention;
  BlockOps feed_forward;
};

/// Throws std::logic_error for sizes below 1. Activations kept follow Korthikanti et al., arXiv 2205.05198,
/// equations 1-4. Fused attention keeps 4 a s b bytes of log-sum-exp in place of 5 a s^2 b for scores;
/// without `dropout` its masks are missing (2 of the 34 s b h), and of 5 a s^2 b all but the output of
/// softmax (2).
LayerOps lower_layer(const Model& model, std::size_t layer, const Share& share, const Recompute& recompute);
/// Its attention block alone: of the routing it depends on dispatched_rows only.
BlockOps lower_attention(const Model& model, std::size_t layer, const Share& share,
                         const Recompute& recompute);
/// Its feed-forward block alone: what differs between ranks of an imbalanced expert-parallel group.
BlockOps lower_feed_forward(const Model& model, std::size_t layer, const Share& share,
                            const Recompute& recompute);
/// Of that block what does not wait for tokens from elsewhere: its shared experts; nothing without any.
BlockOps lower_shared_experts(const Model& model, std::size_t layer, const Share& share,
                              const Recompute& recompute);
/// Token (and position) embedding: a gather forward, a scatter-add in the weight pass.
BlockOps lower_embedding(const Model& model, const Share& share);
/// Final norm, head GEMM over the vocabulary, softmax and cross entropy. `fused_loss`: no copy of the logits
/// in fp32. A layer of multi-token prediction needs an embedding and a head of its own pass: call both once
/// more for each. An encoder's own final norm is left out.
BlockOps lower_head(const Model& model, const Share& share, bool fused_loss);

/// FLOPs of all products in `ops`.
Flops total_flops(std::span<const Op> ops);
/// Bytes that `ops` move in device memory.
Bytes total_bytes(std::span<const Op> ops);

}  // namespace moesim
