// What one device has of a microbatch.
#pragma once

#include <cstdint>
#include <vector>

#include "models/transformer/layer_ops.hpp"
#include "sim/scenario/scenario.hpp"

namespace moesim {

class ExpertLoads;

/// The share of one device outside the experts (expert_rows is left empty), at the ends of the model: of an
/// encoder-decoder that of its decoder.
Share share_of(const Scenario& scenario);
/// The same in a layer.
Share share_of(const Scenario& scenario, std::size_t layer);
/// Tokens of a microbatch that one device holds between blocks: context and sequence parallelism divide them.
std::int64_t tokens_per_device(const Scenario& scenario);
/// The same in a layer: of a decoder those of its targets.
std::int64_t tokens_per_device(const Scenario& scenario, std::size_t layer);
/// Whether ranks of a tensor-parallel group send parts of what each of them holds whole to the next stage,
/// where the group gathers them.
bool scatters_sends(const Scenario& scenario);
/// Tokens of a layer that one device gathers for its experts where tokens of all ranks are gathered; else 0.
std::int64_t gathered_tokens(const Scenario& scenario, std::size_t layer);
/// What one device sends to the next stage for a microbatch; its gradient comes back as large.
Bytes sent_to_stage(const Scenario& scenario);
/// What a device holds of sends: in and out, both ways, and where it gathers also both wholes.
Bytes send_buffers(const Scenario& scenario);
/// Of the pipeline ranks: time of their slowest device over the mean.
std::vector<double> paces_of(const Scenario& scenario);
/// What a router chooses from in a layer with experts.
Gate gate_of(const Experts& experts);
/// Rows of a device's buffer for one expert where buffers are padded; else 0.
std::int64_t padded_capacity(const Scenario& scenario, std::size_t layer);
/// Share of the choices of a layer with experts that is not dropped, where ranks are alike.
double kept_choices(const Scenario& scenario, std::size_t layer);
/// Rows that one device sends out in a layer: what is kept of its tokens x top-k, or its buffers where they
/// are padded, or the mean of `loads`, which are there where ranks differ.
std::int64_t dispatched_rows(const Scenario& scenario, std::size_t layer, const ExpertLoads* loads = nullptr);
/// Expert groups whose rows are computed together: those of the ranks that share an expert's matrices.
std::int64_t gathered_groups(const Scenario& scenario);
/// Rows that the mean rank computes in its local experts, of one microbatch: those that arrive for it and for
/// the ranks that share its experts' matrices.
std::int64_t computed_rows(const Scenario& scenario, std::size_t layer, const ExpertLoads* loads = nullptr);
/// Rows for each local slot of an expert where loads are even (of the busiest rank where `spread` is given),
/// evenly among its slots; what does not divide goes to the first ones. Empty for a dense layer.
std::vector<std::int64_t> expert_rows(const Scenario& scenario, std::size_t layer,
                                      const ExpertLoads* loads = nullptr);
/// One row of a message: block-scaled fp8 carries an fp32 scale for 128 elements (DeepSeek-V3, arXiv
/// 2412.19437, section 3.3).
Bytes row_bytes(std::int64_t hidden, Precision precision);
/// Keys and values of an attention core, by any of its kernels, that one context-parallel rank has, in bf16.
/// Of latent attention those of every head, as Megatron-LM sends them, not the latent.
Bytes keys_and_values(const Op& core, const Scenario& scenario);
/// The ops of one layer on one device, of the busiest rank.
LayerOps ops_of_layer(const Scenario& scenario, std::size_t layer, const ExpertLoads* loads = nullptr);
/// Of its feed-forward block what its shared experts are; nothing without any.
BlockOps shared_experts_of_layer(const Scenario& scenario, std::size_t layer);
/// Bytes that a microbatch keeps on a device.
struct Kept {
  Bytes for_backward;                 ///< from its forward to its backward, or to its input gradient
  Bytes for_weight;                   ///< from its input gradient to its weight gradient
  Bytes again{};                      ///< what a recomputation keeps until its backward ends
  Bytes in_forward{}, in_backward{};  ///< beside that, while its kernels run
  Bytes gradients{};                  ///< of its weights, where they are held from when they are computed
  Bytes offloaded{};                  ///< what is on the host from its forward to its backward
  Bytes recomputed{};                 ///< BlockOps::recomputed
  /// When its backward begins: of layers of its span that are computed again with it, what is held until
  /// theirs begins; of these then the same, below zero.
  Bytes span{};
  Kept& operator+=(const Kept& more) {
    for_backward += more.for_backward;
    for_weight += more.for_weight;
    again += more.again;
    in_forward = std::max(in_forward, more.in_forward);
    in_backward = std::max(in_backward, more.in_backward);
    gradients += more.gradients;
    offloaded += more.offloaded;
    recomputed += more.recomputed;
    span += more.span;
    return *this;
  }
};
/// Layers of which a device holds what goes to the host: one that is computed, one that leaves, and one that
/// has come back or stays.
inline constexpr std::int64_t copied_layers = 3;
Kept kept_of(const BlockOps& ops);
Kept kept_by_embedding(const Scenario& scenario);
/// By the model's head, and the heads and embeddings of multi-token prediction.
Kept kept_by_head(const Scenario& scenario);
/// What is kept for the weight gradient over what was kept for backward, at most: of a layer, or of a last
/// stage with so many layers.
double most_kept_for_weight(const Scenario& scenario, std::int64_t layers_of_stage);
/// For each layer, the first layer of the same shape that keeps as much on the device: what is true of that
/// one is true of it.
std::vector<std::size_t> first_of_shape(const Scenario& scenario);
/// The same but for what of layers is computed again, which their place in a stage decides.
std::vector<std::size_t> first_of_kind(const Scenario& scenario);

}  // namespace moesim
