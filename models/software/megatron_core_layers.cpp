// Norms, products, attention, residuals, embedding, loss and update of Megatron-Core with Transformer Engine.
// Fused kernels go over memory as any fused kernel does; those of PyTorch have its laws (pytorch.hpp).
#include <algorithm>
#include <utility>

#include "models/base/real.hpp"
#include "models/software/megatron_core.hpp"
#include "models/software/separate.hpp"

namespace moesim::megatron {
namespace {

using pytorch::Kernels;
namespace kind = pytorch::kind;

/// x cos + rotate_half(x) sin and a copy, for queries and for keys: two halves stand for them
/// (core/models/common/embeddings/rope_utils.py: _apply_rotary_pos_emb_bshd).
void rotary_apart(Kernels& k, bool is_forward) {
  const double part = k.elements() / 2;
  for (int half = 0; half < 2; ++half) {
    if (is_forward) k.tiny(6);  // angles
    k.add(kind::strided, part / 2, 4).add(kind::joined_halves, part, 4);
    k.add(kind::broadcast, part, 4).add(kind::broadcast, part, 4).add(kind::vectorised, part, 6);
    k.add(kind::joined, part, 4);
    if (!is_forward) k.add(kind::fill, part, 2).add(kind::vectorised, part, 6);
  }
}

/// Of latent attention the same for the part of the head that turns; heads are put together from their parts
/// (core/transformer/multi_latent_attention.py: MLASelfAttention.get_query_key_value_tensors).
void latent_rotary_apart(const Op& op, Kernels& k, bool is_forward) {
  const double rows = real(op.m) * real(op.heads);
  Kernels turned = k.over(op.m * op.heads, op.k);
  rotary_apart(turned, is_forward);
  for (int of_both = 0; of_both < 2; ++of_both) k.add(kind::joined, rows * real(op.head_dim), 4);
  k.add(kind::strided, rows * real(op.value_head_dim), 4);
}

bool is_router(const Op& op) { return op.part == LayerPart::router; }

/// The norm before an attention is in the module of the product behind it (core/models/gpt/
/// gpt_layer_specs.py: TELayerNormColumnParallelLinear), as those of latents are.
Beside beside_norm(const Op& op) {
  if (op.norm_of == NormOf::heads) return beside::head_norms;
  return op.norm_of == NormOf::last || op.name == "feed-forward norm" ? beside::norm : Beside{};
}

}  // namespace

Op in_launches(Op op, std::int64_t count) {
  op.kernels = count;
  return op;
}

std::int64_t calls_of_loop(Time time, bool is_forward) {
  const std::int64_t launch = (is_forward ? forward_launch : backward_launch).count;
  return 1 + (time.count + launch - 1) / launch;
}

/// transformer_engine/common/normalization: forward one kernel; backward one, and a sum of the weight's
/// gradient over blocks (rmsnorm_bwd_tuned_kernel, rmsnorm_bwd_finalize_tuned_kernel), which a hook of DDP
/// adds to the sum of microbatches (core/distributed/distributed_data_parallel.py: _make_backward_post_hook).
/// Queries and keys are cut out of one tensor, and copied for their norms (core/transformer/attention.py:
/// SelfAttention.get_query_key_value_tensors).
void add_norm(const Op& op, const Choices& choices, Kernels& k) {
  const std::int64_t norms = op.norm_of == NormOf::heads ? 2 : 1;
  if (op.pass == OpPass::forward) {
    for (std::int64_t copy = 1; copy < 2 * norms - 1; ++copy) k.add(kind::strided, k.elements() / 2, 4);
    k.op(in_launches(op, norms)).more_calls(beside_norm(op).forward);
    return;
  }
  const bool is_local = choices.transformer == TransformerCode::local;
  k.op(is_local ? norm_with_weights_apart(op) : in_launches(op, norms));
  k.more_calls(beside_norm(op).backward);
  k.tiny(is_local ? norms : 2 * norms);
}

/// One product, its bias and its gradient's sum inside; the hook of DDP finds it summed, and counts it. The
/// router's weight, which is no linear layer of Transformer Engine, has its gradient added by the hook
/// (core/transformer/moe/moe_utils.py: RouterGatingLinearFunction).
void add_product(const Op& op, const Choices& choices, Kernels& k) {
  add_scales(op, choices, 1, k);
  Op product = op;
  const bool is_weight = op.pass == OpPass::backward_weight;
  const bool sums_apart = !choices.fuses_accumulation || is_router(op);
  if (is_weight && sums_apart) product.bytes -= Bytes{6} * op.m * op.n;  // written in bf16
  k.op(std::move(product));
  const Beside& more = is_router(op) ? beside::gating : beside::product;
  if (!is_weight) k.more_calls(op.pass == OpPass::forward ? more.forward : more.backward);
  if (is_weight && is_router(op)) {
    k.add(kind::vectorised, real(op.m) * real(op.n), 10);
  } else if (is_weight) {
    k.by_calls(1 + calls_of_hook);
  }
}

/// Fused: a kernel for queries, one for keys. Gradients of queries, keys and values that one product has made
/// are joined again (transformer_engine/pytorch/attention: SplitAlongDim.backward).
void add_rotary(const Op& op, const Choices& choices, Kernels& k) {
  const bool is_forward = op.pass == OpPass::forward;
  if (choices.fuses_rope) {
    k.op(in_launches(op, 2)).more_calls(is_forward ? beside::rotary.forward : beside::rotary.backward);
  } else if (op.k > 0) {
    latent_rotary_apart(op, k, is_forward);
  } else {
    rotary_apart(k, is_forward);
  }
  if (!is_forward && op.k == 0) k.add(kind::joined, k.elements(), 4);
}

void add_core(const Op& op, const Choices& choices, std::vector<Op>& kernels) {
  Kernels k(op, kernels);
  if (choices.attention == AttentionCode::unfused) {
    for (Op& kernel : separate_attention(op)) {
      kernel.kernel_class = op.kernel_class;
      k.op(std::move(kernel));
    }
    return;
  }
  const Beside& more = beside::attention;
  k.op(op).more_calls(op.pass == OpPass::forward ? more.forward : more.backward);
}

/// A kernel for each result that is added forward, the last with its bias and dropout
/// (core/fusions/fused_bias_dropout.py); backward autograd adds the gradients of a norm's readers, and of the
/// stream, two at a time.
void add_residual(const Op& op, Kernels& k) {
  const double each = real(op.bytes.count) / std::max(1.0, k.elements());
  const auto streams = static_cast<std::int64_t>(each / 2);
  if (each != 2 * real(streams)) {  // with dropout
    k.op(op);
    return;
  }
  for (std::int64_t sum = 0; sum < streams - 2; ++sum) k.all(kind::vectorised, 6);
  if (streams > 2)
    k.more_calls(op.pass == OpPass::forward ? beside::residual.forward : beside::residual.backward);
}

/// Rows by index, into the order of the sequence (core/models/common/embeddings/language_model_embedding.py:
/// LanguageModelEmbedding.forward). The gradient, in bf16, is added to the sum by the hook of DDP.
void add_embedding(const Op& op, Kernels& k) {
  if (op.pass == OpPass::forward) {
    k.op(op).add(kind::strided, k.elements(), 4);
    return;
  }
  pytorch::add_embedding_gradient(op, 2, k);
  k.add(kind::vectorised, real(op.k) * real(op.n), 10);
}

/// Fused: two kernels forward, one backward (transformer_engine/common/triton/cross_entropy.py); else
/// core/tensor_parallel/cross_entropy.py. Then mask, sum and count of tokens (pretrain_gpt.py: loss_func).
void add_loss(const Op& op, Kernels& k) {
  const bool is_forward = op.pass == OpPass::forward;
  k.op(op.kernels == 1 && is_forward ? in_launches(op, 2) : op);
  if (is_forward) k.tiny(6, KernelClass::loss);
}

/// In blocks of 32 and of 16, scales of both operands are brought into the order of the tensor cores
/// (transformer_engine/pytorch/csrc/extensions/gemm.cpp: swizzle_scales_for_gemm); in NVFP4 those of both
/// tensors are multiplied (common/gemm/cublaslt_gemm.cu: nvte_nvfp4_compute_per_tensor_scale).
void add_scales(const Op& op, const Choices& choices, std::int64_t products, Kernels& k) {
  if (op.precision == Precision::fp4) k.tiny(2).tiny(products);
  if (op.precision == Precision::fp8 && choices.recipe == Fp8Recipe::mxfp8) k.tiny(2);
}

namespace {

/// NVFP4 (transformer_engine/pytorch/csrc/quantizer.cpp: NVFP4Quantizer::quantize_impl): the largest numbers
/// before and behind the Hadamard transform along columns, which are set to zero first; then one kernel casts
/// rows, and transforms and casts columns. Gradients are rounded stochastically, for which a small kernel has
/// the state of random numbers. Those of all experts go together (csrc/extensions/cast.cpp:
/// split_quantize_nvfp4_impl), up to 64 in a launch.
void add_fp4_cast(const Op& op, std::int64_t tensors, Kernels& k) {
  constexpr std::int64_t most_of_group = 64;
  const std::int64_t launches = (tensors + most_of_group - 1) / most_of_group;
  if (op.pass == OpPass::backward_input) k.tiny(launches);
  k.tiny(launches).add(kind::one_read, k.elements(), 2).launches(launches);
  Op cast = in_launches(op, launches);
  cast.bytes += from_bytes(k.elements() * nvfp4_bytes);  // the other way
  k.op(std::move(cast));
}

}  // namespace

/// A kernel for each tensor, which writes it for both of its products, so that weight gradients cast nothing;
/// with scales of the current tensor two for its largest element, one for the scale and the cast
/// (transformer_engine/pytorch/csrc/quantizer.cpp: Float8CurrentScalingQuantizer). Rows of experts are so
/// many tensors, in a loop in C++ (csrc/extensions/cast.cpp: split_quantize), of which only delayed scales
/// cast all at once.
void add_cast(const Op& op, const Choices& choices, Kernels& k) {
  if (op.pass == OpPass::backward_weight) return;
  const std::int64_t experts =
      std::count_if(op.rows.begin(), op.rows.end(), [](auto rows) { return rows > 0; });
  const bool is_one = op.rows.empty() || choices.recipe == Fp8Recipe::delayed;
  if (op.precision == Precision::fp4)
    return add_fp4_cast(op, op.rows.empty() ? 1 : std::max<std::int64_t>(1, experts), k);
  const std::int64_t tensors = is_one ? 1 : std::max<std::int64_t>(1, experts);
  const bool is_current = choices.recipe == Fp8Recipe::tensorwise;
  const std::int64_t all = tensors * (is_current ? 4 : 1);
  const Time in_loop{all * launch_in_loop.count + tensors * fp8_tensor.count};
  const std::int64_t calls = is_one ? all : calls_of_loop(in_loop, op.pass == OpPass::forward);
  Op cast = in_launches(op, is_current ? 2 * tensors : tensors);
  cast.bytes += from_bytes(k.elements());  // the other way
  if (is_current) k.add(kind::one_read, k.elements(), 2).launches(2 * tensors).by_calls(0);
  k.op(std::move(cast)).by_calls(calls);
}

/// Adam over lists of tensors, as those of PyTorch (transformer_engine/pytorch/optimizers/fused_adam.py,
/// common/multi_tensor: 320 chunks of 65,536 a launch).
void add_update(const Op& op, std::vector<Op>& kernels) {
  if (op.kind == OpKind::gemm || op.walk != Walk::fused) return pytorch::update(op, kernels);
  const std::int64_t most = pytorch::most_elements_of_lists;
  kernels.push_back(in_launches(op, std::max<std::int64_t>(1, (op.m + most - 1) / most)));
}

}  // namespace moesim::megatron
