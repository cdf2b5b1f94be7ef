#include "models/software/narrow_weights.hpp"

namespace moesim {
namespace {

constexpr double fp32 = 4, bf16 = 2, fp8 = 1;

bool has_tensor_scale(Fp8Recipe recipe) {
  return recipe == Fp8Recipe::delayed || recipe == Fp8Recipe::tensorwise;
}

/// Until Blackwell matrix units take fp8 only with the depth innermost in both operands
/// (transformer_engine/pytorch/utils.py: is_non_tn_fp8_gemm_supported); with scales of blocks both ways are
/// cast apart, whatever the device.
double ways(Fp8Recipe recipe, Generation generation) {
  return has_tensor_scale(recipe) && generation >= Generation::blackwell ? 1 : 2;
}

double held(Fp8Recipe recipe, Generation generation) {
  return ways(recipe, generation) * (fp8 + weight_scale_bytes(recipe));
}

/// A scale of the current numbers needs their largest first.
double measured(Fp8Recipe recipe, double each) {
  return recipe == Fp8Recipe::delayed || recipe == Fp8Recipe::mxfp8 ? 0 : each;
}

}  // namespace

/// transformer_engine/pytorch/tensor/utils.py: quantize_master_weights, post_all_gather_processing. Scales of
/// MXFP8 along columns do not follow from what is cast along rows: weights are gathered in bf16, through the
/// buffer of gradients, then cast both ways, and the buffer is set to zero again (Megatron-Core,
/// core/distributed/param_and_grad_buffer.py: _post_param_sync; --reuse-grad-buf-for-mxfp8-param-ag).
NarrowWeights narrow_weights(Fp8Recipe recipe, Generation generation) {
  const double all = held(recipe, generation);
  if (recipe == Fp8Recipe::mxfp8) return {.held = all, .sent = bf16, .by_all = bf16 + all + bf16};
  const bool transposes = ways(recipe, generation) > 1;
  return {.held = all,
          .sent = fp8,
          .by_owner = measured(recipe, fp32) + fp32 + fp8,
          .by_all = transposes ? 2 * fp8 : 0};
}

/// transformer_engine/pytorch/module/base.py: quantize_weight, with a cache for is_first_microbatch. A
/// tensor's largest number is found first (csrc/quantizer.cpp: Float8CurrentScalingQuantizer,
/// NVFP4Quantizer); blocks' are by the kernel that casts them.
NarrowWeights narrow_copies(Precision precision, Fp8Recipe recipe, Generation generation) {
  if (precision == Precision::fp4) {
    const double both = 2 * nvfp4_bytes;
    return {.held = both, .sent = bf16, .by_all = bf16 + bf16 + both};
  }
  const double all = held(recipe, generation);
  const double largest = recipe == Fp8Recipe::tensorwise ? bf16 : 0;
  return {.held = all, .sent = bf16, .by_all = largest + bf16 + all};
}

}  // namespace moesim
