// Attention of Hugging Face transformers in eager PyTorch (transformers 5.17,
// integrations/sdpa_attention.py; models/llama, gpt_oss, deepseek_v3: apply_rotary_pos_emb,
// eager_attention_forward, DeepseekV3Attention.forward), and autograd's kernels for its backward.
#include <algorithm>
#include <cmath>

#include "models/base/real.hpp"
#include "models/software/hugging_face.hpp"
#include "models/software/separate.hpp"

namespace moesim::hugging_face {
namespace {

using pytorch::Kernels;
namespace kind = pytorch::kind;
constexpr KernelClass gathers = KernelClass::gather_scatter;

/// x cos + rotate_half(x) sin, for queries and for keys: two halves stand for them, since the laws are
/// linear. Under autocast angles are in fp32, and so is what they multiply; the result is cast.
void rotary_forward(Kernels& k, bool autocast) {
  const double n = k.elements();
  for (const double part : {n / 2, n / 2}) {
    k.add(autocast ? kind::mixed : kind::strided_broadcast, part, autocast ? 6 : 4);
    k.add(kind::strided, part / 2, 4).add(kind::joined_halves, part, 4);
    k.add(autocast ? kind::mixed : kind::broadcast, part, autocast ? 6 : 4);
    k.add(kind::slices, part, autocast ? 12 : 6);
    if (autocast) k.add(kind::vectorised, part, 6);
  }
}

void rotary_backward(Kernels& k, bool autocast) {
  const double n = k.elements();
  for (const double part : {n / 2, n / 2}) {
    if (autocast) k.add(kind::widened, part, 6);
    for (int factor = 0; factor < 2; ++factor) {
      k.add(kind::strided_broadcast, part, autocast ? 8 : 4);
      if (autocast) k.add(kind::vectorised, part, 6);
    }
    k.add(kind::strided, part / 2, 4);
    for (int half = 0; half < 2; ++half) k.add(kind::fill, part, 2).add(kind::strided, part / 2, 4);
    k.add(kind::vectorised, part, 6).add(kind::slices, part, 6).add(kind::strided, part, 4);
  }
}

/// Of latent attention: queries and keys are put together from parts with a place and without, keys are
/// repeated for all heads, and cuDNN's result is copied.
struct LatentParts {
  explicit LatentParts(const Op& op)
      : rotated(real(op.m) * real(op.heads) * real(op.k)),
        plain(real(op.m) * real(op.heads) * real(op.head_dim - op.k)),
        values(real(op.m) * real(op.heads) * real(op.value_head_dim)) {}
  double rotated, plain, values;
  double whole() const { return rotated + plain; }
};

void latent_forward(Kernels& k, const LatentParts& part) {
  const double half = part.rotated / 2;
  for (int factor = 0; factor < 4; ++factor) k.add(kind::strided_broadcast, half, 4);
  k.add(kind::vectorised, half, 6).add(kind::vectorised, half, 6).add(kind::joined_halves, part.rotated, 4);
  k.tiny(7, KernelClass::streaming, 1'200);  // the same for the keys' part, which heads share
  k.add(kind::joined_halves, part.whole(), 4);
  k.add(kind::strided, part.plain, 4).add(kind::expanded, part.rotated, 2);
  k.add(kind::strided, part.values, 4);
}

void latent_backward(Kernels& k, const LatentParts& part) {
  const double half = part.rotated / 2;
  k.add(kind::copy, part.whole(), 4).add(kind::copy, part.whole(), 4);
  k.add(kind::strided, part.rotated, 4).add(kind::fill, part.rotated, 2).add(kind::strided, part.rotated, 4);
  k.add(kind::strided, part.plain, 4).add(kind::head_sums, part.rotated, 2);
  k.add(kind::joined_halves, part.plain + part.values, 4).add(kind::strided, part.plain + part.values, 4);
  k.tiny(13, KernelClass::streaming, 1'200);
  for (int factor = 0; factor < 4; ++factor) k.add(kind::strided_broadcast, half, 4);
  k.add(kind::strided, half, 4).add(kind::vectorised, half, 6).add(kind::vectorised, half, 6);
  for (int slice = 0; slice < 2; ++slice) k.add(kind::fill, part.rotated, 2).add(kind::strided, half, 4);
  k.add(kind::vectorised, part.rotated, 6).tiny(1, KernelClass::streaming, 3'000);
  k.add(kind::joined_halves, part.whole(), 4).add(kind::strided, part.whole(), 4);
}

std::int64_t keys_of(const Op& op) { return op.kv_sequence > 0 ? op.kv_sequence : op.sequence; }

/// Elements of one of queries, keys and values with a row for each head.
double of_all_heads(const Op& op, std::int64_t rows, std::int64_t width) {
  return real(op.batch) * real(op.heads) * real(rows) * real(width);
}

/// Copies of keys and values for each head (repeat_kv).
void repeat_keys(const Op& op, Kernels& k) {
  if (op.kv_heads == op.heads) return;
  for (const std::int64_t width : {op.head_dim, op.value_head_dim}) {
    const double n = of_all_heads(op, keys_of(op), width);
    k.add(kind::strided, n, 2 + 2 * real(op.kv_heads) / real(op.heads));
  }
}

/// Their gradients, added up over the heads that share them; those of values are copied too.
void add_up_keys(const Op& op, const Access& of_keys, const Access& of_values, KernelClass kernel_class,
                 Kernels& k) {
  if (op.kv_heads == op.heads) return;
  const double keys = of_all_heads(op, keys_of(op), op.head_dim);
  const double values = of_all_heads(op, keys_of(op), op.value_head_dim);
  k.add(of_keys, keys, 2, kernel_class).add(of_values, values, 2, kernel_class);
}

/// As long as with so many times the heads.
Op longer(Op op, double factor) {
  op.heads = std::llround(real(op.heads) * factor);
  return op;
}

/// cuDNN's kernel with a mask that it reads, over the whole square, for heads of 64 and 128: forward 1.56 to
/// 1.76 times as long as the laws of the device have it without, backward 1.1 to 2.1.
constexpr double masked_over_plain = 1.75;

/// flash-attn 2, which has no kernels of its own for Hopper, over cuDNN's.
double flash_over_cudnn(const Op& op) {
  if (op.pass != OpPass::forward) return 1.7;
  return op.head_dim <= 64 ? 1.55 : 1.85;
}

/// Whether torch's attention is given a mask, of padding or of a window, instead of being told that it is
/// causal.
bool is_masked(const Op& op, const Choices& choices) {
  const bool has_window = op.window > 0 && op.window < keys_of(op);
  return op.causal && choices.attention == AttentionCode::sdpa && (choices.has_mask || has_window);
}

void fused(const Op& op, const Choices& choices, Kernels& k) {
  const bool is_forward = op.pass == OpPass::forward;
  if (is_masked(op, choices)) {
    Op masked = longer(op, masked_over_plain);
    masked.causal = false;
    masked.window = 0;
    if (is_forward) {
      repeat_keys(op, k);
      k.tiny(2).add(kind::expanded, real(op.batch) * real(op.sequence) * real(keys_of(op)), 3, gathers);
    }
    k.op(masked);
    if (!is_forward) add_up_keys(op, kind::head_sums, kind::head_sums, KernelClass::streaming, k);
    return;
  }
  k.op(choices.attention == AttentionCode::flash ? longer(op, flash_over_cudnn(op)) : op);
  if (!is_forward) add_up_keys(op, kind::head_sums, kind::head_sums, KernelClass::attention, k);
}

/// Each head's product of a batched one.
void heads_product(const Op& op, std::int64_t rows, std::int64_t width, std::int64_t depth, Kernels& k) {
  Op product = product_of_heads(op, rows, width, depth);
  product.module = Module::core;
  product.kernel_class = KernelClass::products;
  k.op(std::move(product));
}

/// scores times a number, plus the mask, softmax in fp32, back to bf16.
void eager_softmax(double scores, Kernels& k) {
  k.split(kind::one_read, scores, 4, 2);
  k.split(kind::broadcast, scores, 4, 2);
  k.split(kind::widened, scores, 6, 4);
  k.add(kind::softmax, scores, 8);
  k.split(kind::vectorised, scores, 6, 4);
}

void eager_softmax_backward(double scores, Kernels& k) {
  k.split(kind::widened, scores, 6, 4);
  k.split(kind::vectorised, scores, 12, 4);
  k.add(kind::softmax_backward, scores, 12);
  k.split(kind::vectorised, scores, 6, 4);
  k.split(kind::one_read, scores, 4, 2);
}

/// With sinks: a column beside the scores, less each row's maximum, softmax in bf16
/// (models/gpt_oss/modeling_gpt_oss.py: eager_attention_forward).
void sinks_softmax(double scores, double with_sinks, Kernels& k) {
  k.split(kind::one_read, scores, 4, 2);
  k.split(kind::broadcast, scores, 4, 2);
  k.add(kind::joined_unaligned, with_sinks, 4);
  k.split(kind::maximum, with_sinks, 2, 2);
  k.split(kind::broadcast, with_sinks, 4, 2);
  k.add(kind::softmax_unaligned, with_sinks, 4);
}

void sinks_softmax_backward(double scores, double with_sinks, double rows, Kernels& k) {
  k.split(kind::fill, with_sinks, 2, 2);
  k.split(kind::expanded, scores, 4, 2);
  k.split(kind::vectorised, with_sinks, 6, 2);
  k.add(kind::softmax_backward_unaligned, with_sinks, 6);
  k.split(kind::one_read, with_sinks, 4, 2);
  k.split(kind::row_sums, with_sinks, 2, 2);
  k.split(kind::fill, with_sinks, 2, 2);
  k.tiny(pytorch::parts_of(with_sinks, 2), gathers, 12'600);
  k.split(kind::vectorised, with_sinks, 6, 2);
  k.add(kind::strided, rows, 2);
  k.split(kind::strided, scores, 4, 2);
}

void eager(const Op& op, Kernels& k) {
  const std::int64_t queries = op.sequence, keys = keys_of(op);
  const double rows = of_all_heads(op, queries, 1), scores = rows * real(keys);
  if (op.pass == OpPass::forward) {
    repeat_keys(op, k);
    heads_product(op, queries, keys, op.head_dim, k);
    op.sinks ? sinks_softmax(scores, scores + rows, k) : eager_softmax(scores, k);
    heads_product(op, queries, op.value_head_dim, keys, k);
    k.add(kind::strided, rows * real(op.value_head_dim), 4);
    return;
  }
  heads_product(op, keys, op.value_head_dim, queries, k);
  heads_product(op, queries, keys, op.value_head_dim, k);
  op.sinks ? sinks_softmax_backward(scores, scores + rows, rows, k) : eager_softmax_backward(scores, k);
  heads_product(op, keys, op.head_dim, queries, k);
  heads_product(op, queries, op.head_dim, keys, k);
  add_up_keys(op, kind::head_sums, kind::strided_head_sums, KernelClass::streaming, k);
  k.add(kind::strided, real(op.batch) * real(op.kv_heads) * real(keys) * real(op.value_head_dim), 4);
}

/// Models with sinks have no other code than this.
bool is_eager(const Op& op, const Choices& choices) {
  return op.sinks || choices.attention == AttentionCode::eager;
}

/// Bytes of keys and values that are copied for each head.
double repeated_bytes(const Op& op) {
  const double more = real(op.heads - op.kv_heads) * real(op.head_dim + op.value_head_dim);
  return 2 * real(op.batch) * real(keys_of(op)) * more;
}

}  // namespace

void add_rotary(const Op& op, const Choices& choices, Kernels& k) {
  const bool is_forward = op.pass == OpPass::forward;
  if (op.k > 0) return is_forward ? latent_forward(k, LatentParts(op)) : latent_backward(k, LatentParts(op));
  is_forward ? rotary_forward(k, choices.autocast) : rotary_backward(k, choices.autocast);
}

void add_core(const Op& op, const Choices& choices, Kernels& k) {
  is_eager(op, choices) ? eager(op, k) : fused(op, choices, k);
}

/// Fused: as any; with a mask that too, in bf16, and the repeated keys; where values are narrower than keys
/// the copy of the result. Eager: the scores after softmax, in fp32 and bf16, or with sinks in bf16 with the
/// place of each maximum.
double kept_by_core(const Op& op, const Choices& choices) {
  const double rows = of_all_heads(op, op.sequence, 1), scores = rows * real(keys_of(op));
  if (is_eager(op, choices)) {
    const double kept = op.sinks ? 2 * (scores + rows) + 8 * rows : 6 * scores;
    return op.kept - 4 * rows + kept + repeated_bytes(op);
  }
  double kept = op.kept;
  if (op.head_dim != op.value_head_dim) kept += 2 * rows * real(op.value_head_dim);
  if (is_masked(op, choices))
    kept += 2 * real(op.batch) * real(op.sequence) * real(keys_of(op)) + repeated_bytes(op);
  return kept;
}

/// With sinks, forward: scores, and scores beside sinks less their maximum. Else scores, and a copy of them
/// in fp32. Backward: gradients before and after softmax, and the product of the latter with its output.
double working_bytes_of_core(const Op& op, const Choices& choices) {
  if (!is_eager(op, choices)) return 0;
  const double scores = of_all_heads(op, op.sequence, 1) * real(keys_of(op));
  if (op.pass == OpPass::forward) return (op.sinks ? 4 : 6) * scores;
  return (op.sinks ? 6 : 12) * scores;
}

}  // namespace moesim::hugging_face
