// A layer, the embedding and the head lowered to ops for one device and one microbatch.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "models/transformer/model.hpp"
#include "models/transformer/op.hpp"

namespace moesim {

/// What is computed again in backward instead of kept. Combinations are allowed; `full` covers the others.
struct Recompute {
  bool full = false;         ///< whole layers: only their input is kept
  bool norm = false;         ///< outputs of RMSNorm
  bool activation = false;   ///< outputs of SwiGLU / GELU
  bool latent = false;       ///< MLA up-projections
  bool attention = false;    ///< the attention core (Korthikanti et al., arXiv 2205.05198, "selective")
  bool experts = false;      ///< the whole expert computation
};

/// The part of a microbatch that one device computes.
struct Share {
  std::int64_t sequences = 1;          ///< of the microbatch
  std::int64_t sequence_length = 1;    ///< whole sequence; context parallelism divides it
  std::int64_t tensor = 1;             ///< tensor-parallel size: heads, widths and vocabulary are divided by it
  std::int64_t context = 1;            ///< context-parallel size: rows are divided by it
  bool sequence_parallel = true;       ///< norms and residuals also divided over the tensor group
  std::int64_t expert_tensor = 1;      ///< tensor-parallel size inside an expert
  std::span<const std::int64_t> expert_rows;  ///< rows that arrive for each local expert (empty: dense layer)
  std::int64_t dispatched_rows = 0;    ///< rows that this device sends out (its tokens x top-k, or deduplicated)
  Precision gemm = Precision::bf16;    ///< of matrix products; attention stays bf16
  /// Rows of the microbatch on this device outside tensor parallelism: sequences x sequence_length / context.
  std::int64_t tokens() const { return sequences * sequence_length / context; }
};

/// Ops of one block in the three passes, and the activations it keeps for backward. Recomputed ops stand at the
/// head of backward_input.
struct BlockOps {
  std::vector<Op> forward, backward_input, backward_weight;
  Bytes activations;
};

/// A layer as two blocks with the exchange between them: attention (norms, attention, residual, then router and
/// permute for MoE) | dispatch | feed-forward (shared and routed experts, or dense) | combine. What follows the
/// combine (weighted sum over top-k, residual) counts to the feed-forward block.
struct LayerOps {
  BlockOps attention;
  BlockOps feed_forward;
};

LayerOps lower_layer(const Model& model, std::size_t layer, const Share& share, const Recompute& recompute);
/// Token (and position) embedding: a gather forward, a scatter-add in the weight pass.
BlockOps lower_embedding(const Model& model, const Share& share);
/// Final norm, head GEMM over the vocabulary, softmax and cross entropy. `fused_loss`: no copy of the logits in fp32.
BlockOps lower_head(const Model& model, const Share& share, bool fused_loss);

}  // namespace moesim
