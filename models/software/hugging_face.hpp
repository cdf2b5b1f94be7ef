// Kernels of Hugging Face transformers in eager PyTorch, part by part of a layer.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "models/software/pytorch.hpp"

namespace moesim::hugging_face {

/// `attn_implementation`.
enum class AttentionCode : std::uint8_t {
  sdpa,   ///< torch's fused attention: cuDNN's kernels on Hopper
  flash,  ///< the library flash-attn, version 2
  eager,  ///< products and a softmax in fp32, whole squares of scores
};
inline constexpr std::string_view attention_names[] = {"sdpa", "flash", "eager"};

/// `experts_implementation`.
enum class ExpertsCode : std::uint8_t {
  grouped_mm,  ///< a product for all experts
  eager,       ///< a loop over experts that have tokens
  batched_mm,  ///< a matrix copied for each choice
};
inline constexpr std::string_view experts_names[] = {"grouped_mm", "eager", "batched_mm"};

/// Whether a mask of padding is given.
inline constexpr std::string_view mask_names[] = {"none", "given"};

/// What a model is run with.
struct Choices {
  AttentionCode attention = AttentionCode::sdpa;
  ExpertsCode experts = ExpertsCode::grouped_mm;
  bool has_mask = false;  ///< of padding, so that nothing is known to be causal
  bool autocast = false;  ///< parameters in fp32, products in bf16
};

/// Kernels of what is neither attention nor expert.
void add_norm(const Op& op, const Choices& choices, pytorch::Kernels& kernels);
void add_products(const Op& op, const Choices& choices, pytorch::Kernels& kernels);
void add_residual(const Op& op, const Choices& choices, pytorch::Kernels& kernels);
void add_activation(const Op& op, pytorch::Kernels& kernels);
void add_loss(const Op& op, pytorch::Kernels& kernels);
void add_embedding(const Op& op, const Choices& choices, pytorch::Kernels& kernels);

/// Kernels of attention, and what they keep.
void add_rotary(const Op& op, const Choices& choices, pytorch::Kernels& kernels);
void add_core(const Op& op, const Choices& choices, pytorch::Kernels& kernels);
double kept_by_core(const Op& op, const Choices& choices);
double working_bytes_of_core(const Op& op, const Choices& choices);

/// Kernels of routing and experts.
void add_shared_gate(const Op& op, pytorch::Kernels& kernels);
void add_router(const Op& op, pytorch::Kernels& kernels);
void add_permute(const Op& op, const Choices& choices, pytorch::Kernels& kernels);
void add_experts(const Op& op, const Choices& choices, pytorch::Kernels& kernels);
void add_expert_activation(const Op& op, const Choices& choices, pytorch::Kernels& kernels);
void add_unpermute(const Op& op, const Choices& choices, pytorch::Kernels& kernels);
double kept_by_experts(const Op& op, const Choices& choices);
double working_bytes_of_experts(const Op& op, const Choices& choices);
/// The loop over experts: all of their kernels stand at the first product forward and at the second backward,
/// those of weight gradients at their own.
void add_loop(const Op& op, const Choices& choices, pytorch::Kernels& kernels);

/// Kernels that experts have whether they are computed together or one by one. Of `index_put_`: places in
/// order.
void add_places(std::int64_t places, pytorch::Kernels& kernels);
/// Of experts whose products have biases, which are gpt-oss's: of the pair of gates for n elements each one
/// is cut and activated, one is cut and added to 1 (models/gpt_oss/modeling_gpt_oss.py: _apply_gate).
void add_cut_gates(double n, bool is_forward, pytorch::Kernels& kernels);

/// Whether a model adds the rows of its experts up in fp32: Mixtral (two experts a token) and DeepSeek
/// (groups of experts) leave a router's weights in fp32, Qwen and gpt-oss bring them to bf16.
bool sums_in_fp32(const Op& op);

}  // namespace moesim::hugging_face
