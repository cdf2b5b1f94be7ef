// Routers and experts of Hugging Face transformers in eager PyTorch, with grouped products (transformers
// 5.17, integrations/moe.py: grouped_mm_experts_forward, batched_mm_experts_forward; models/mixtral,
// deepseek_v3: routers; models/gpt_oss: GptOssExperts), and autograd's kernels for their backward.
#include <algorithm>
#include <numeric>

#include "models/base/real.hpp"
#include "models/software/hugging_face.hpp"

namespace moesim::hugging_face {
namespace {

using pytorch::Kernels;
namespace kind = pytorch::kind;
constexpr KernelClass gathers = KernelClass::gather_scatter;

/// Bytes of an element: what autocast gives to experts is in fp32, and stays that.
double width(const Choices& choices) { return choices.autocast ? 4 : 2; }

/// Elements set to zero.
void clear(Kernels& k, double elements, double bytes) {
  k.add(bytes > 2 ? kind::fill_fp32 : kind::fill, elements, bytes);
}

/// A copy that is masked beyond the last expert's rows.
void masked_copy(Kernels& k, double elements, double bytes) {
  k.add(kind::copy, elements, 2 * bytes).add(kind::masked_rows, elements, bytes);
}

/// Choices that torch.sort sorts with one kernel, or two and a pass over each byte of them
/// (aten/src/ATen/native/cuda/Sort.h: should_use_small_sort). 4,096 take as many launches as 512
/// (configs/validation/software-h200.json: qwen3-moe, 1 x 64 and 1 x 512, experts grouped_mm, forward).
constexpr std::int64_t most_sorted_at_once = 4096;

/// Places that cub sorts with one kernel (DeviceRadixSortSingleTileKernel). Of 4,096 the backward of the same
/// steps has three launches more for each `index_put_`.
constexpr std::int64_t most_places_at_once = 2048;

void sort(Kernels& k, std::int64_t choices) {
  (choices <= most_sorted_at_once ? k.tiny(5, gathers, 5'600) : k.tiny(22, gathers, 1'900)).by_calls(1);
}

/// `index_put_` that adds rows to `target` elements set to zero before: places in order, then rows.
void put(Kernels& k, std::int64_t places, double rows, double target, double bytes) {
  clear(k, target, bytes);
  add_places(places, k);
  k.add(bytes > 2 ? kind::index_put_fp32 : kind::index_put, rows, 2 * bytes, gathers);
}

/// The same where few places take many rows each, one after the other: 846 us for 16,384 rows of 2,880 at 32
/// places, 907 us for rows of 5,760 on one H200.
void put_at_few(Kernels& k, std::int64_t rows, std::int64_t places) {
  constexpr double ns_each = 1650;
  k.tiny(10).tiny(3, gathers, 2'000);
  const double each = real(rows) / real(std::max<std::int64_t>(1, places));
  k.tiny(1, gathers, static_cast<std::int64_t>(ns_each * each));
}

/// Sigmoid, a correction, the best groups by their two best experts, the best of those (models/deepseek_v3:
/// DeepseekV3MoE.route_tokens_to_experts).
void choose_groups(const Op& op, Kernels& k) {
  const double n = k.elements();
  if (op.pass == OpPass::forward) {
    k.all(kind::one_read, 8).all(kind::broadcast, 8);
    k.add(kind::topk, pytorch::chosen_from(op.m * op.groups, op.n / op.groups), 4, gathers).tiny(1, gathers);
    k.tiny(1)
        .add(kind::topk, pytorch::chosen_from(op.m, op.groups), 4, gathers)
        .tiny(1)
        .tiny(1, gathers, 2'500);
    k.add(kind::strided, n, 5).add(kind::widened, n, 5).add(kind::one_read, n, 2);
    k.add(kind::copy, n, 8).add(kind::vectorised, n, 9);
    k.add(kind::topk, pytorch::chosen_from(op.m, op.n), 4, gathers).tiny(1, gathers, 4'000).tiny(5);
    return;
  }
  k.tiny(10).tiny(2, gathers, 3'500).all(kind::vectorised, 12);
}

/// What one product in fp32 for each expert takes, where grouped_mm has no kernel (torch:
/// aten/src/ATen/native/cuda/GroupedBlas.cpp, _grouped_mm_fallback): the host reads where experts begin.
void fallback(const Op& op, Kernels& k) {
  k.tiny(1, KernelClass::host, 500).read();
  for (const std::int64_t rows : op.rows) {
    const double steps = real(rows) * real(op.n) * real(op.k);
    const double bytes = 4 * (real(rows) * (real(op.n) + real(op.k)) + real(op.n) * real(op.k));
    if (rows == 0) {
      k.tiny(1);
    } else {
      k.add(kind::fp32_product, steps, bytes / steps, KernelClass::products).of({2 * steps});
    }
  }
}

/// A matrix for each choice is copied, and multiplied with one row; backward adds their gradients up.
void batched(const Op& op, Kernels& k) {
  const std::int64_t choices = std::accumulate(op.rows.begin(), op.rows.end(), std::int64_t{0});
  const double matrices = real(choices) * real(op.n) * real(op.k);
  if (op.pass == OpPass::forward) k.add(kind::gather, matrices, 4, gathers);
  k.add(op.pass == OpPass::backward_weight ? kind::outer_products : kind::row_products, matrices, 2,
        KernelClass::products)
      .of(op.flops);
  if (op.pass == OpPass::backward_weight)
    put(k, choices, matrices, real(static_cast<std::int64_t>(op.rows.size())) * real(op.n) * real(op.k), 2);
}

}  // namespace

/// A sigmoid of one number for each token, and its shared experts' result times that
/// (models/qwen2_moe/modeling_qwen2_moe.py: Qwen2MoeSparseMoeBlock.forward).
void add_shared_gate(const Op& op, Kernels& k) {
  if (op.pass == OpPass::forward) {
    k.tiny(1).all(kind::broadcast, 4);
  } else {
    k.all(kind::broadcast, 4).all(kind::vectorised, 6).all(kind::row_sums, 2).tiny(1);
  }
}

/// In batches the copies of matrices.
double kept_by_experts(const Op& op, const Choices& choices) {
  if (choices.experts != ExpertsCode::batched_mm) return 0;
  const std::int64_t choices_made = std::accumulate(op.rows.begin(), op.rows.end(), std::int64_t{0});
  return 2 * real(choices_made) * real(op.n) * real(op.k);
}

/// One by one, the gradient of a matrix, the stack of zeros that it is put into, and the stacks that all are
/// added to: of gates, twice the width, and of what comes back.
double working_bytes_of_experts(const Op& op, const Choices& choices) {
  const bool is_of_gates = op.columns[0] > 0 && op.pass == OpPass::backward_weight;
  if (choices.experts != ExpertsCode::eager || !is_of_gates) return 0;
  return width(choices) * real(op.n) * real(op.k) * (2.5 * static_cast<double>(op.rows.size()) + 1);
}

void add_places(std::int64_t places, Kernels& k) {
  const bool is_small = places <= most_places_at_once;
  k.tiny(is_small ? 5 : 8).by_calls(1);
  (is_small ? k.tiny(1, gathers, 2'800) : k.tiny(4, gathers, 4'200)).by_calls(0);
}

void add_cut_gates(double n, bool is_forward, Kernels& k) {
  if (is_forward) {
    k.add(kind::strided, n, 4).add(kind::strided, n, 4).add(kind::one_read, n, 4).add(kind::silu, n, 4);
    k.add(kind::vectorised, n, 6).add(kind::one_read, n, 4).add(kind::vectorised, n, 6);
    return;
  }
  for (int product = 0; product < 5; ++product) k.add(kind::vectorised, n, 6);
  k.add(kind::one_read, n, 4).add(kind::vectorised, n, 6).tiny(2);
  for (int comparison = 0; comparison < 3; ++comparison) k.add(kind::strided, n, 3);
  k.add(kind::one_read, n, 3).add(kind::broadcast, n, 5, gathers).add(kind::broadcast, n, 5, gathers);
  for (int half = 0; half < 2; ++half) k.add(kind::fill, 2 * n, 2).add(kind::slices, n, 4);
  k.add(kind::vectorised, 2 * n, 6);
}

bool sums_in_fp32(const Op& op) { return op.groups > 1 || op.top_k == 2; }

void add_router(const Op& op, Kernels& k) {
  if (op.groups > 1) return choose_groups(op, k);
  const double chosen = pytorch::chosen_from(op.m, op.n);
  if (op.pass == OpPass::forward) {
    k.all(kind::widened, 6).all(kind::softmax, 8).add(kind::topk, chosen, 4, gathers);
    k.tiny(1, gathers).tiny(4);
    return;
  }
  k.tiny(9).tiny(2, gathers, 3'500).all(kind::vectorised, 12).all(kind::softmax, 12).all(kind::vectorised, 6);
}

/// Sorting of the choices, rows of tokens by index, and the mask before the product; backward adds the rows'
/// gradients up at their tokens.
void add_permute(const Op& op, const Choices& choices, Kernels& k) {
  const double n = k.elements(), bytes = width(choices);
  if (op.pass == OpPass::forward) {
    sort(k, op.m);
    k.add(kind::gather, n, 2 * bytes, gathers).tiny(5, gathers, 1'200).tiny(4).all(kind::masked_rows, bytes);
    return;
  }
  masked_copy(k, n, bytes);
  put(k, op.m, real(op.m), real(op.m), bytes);  // of the routing weights
  put(k, op.m, n, pytorch::token_elements(op), bytes);
  k.add(kind::vectorised, pytorch::token_elements(op), 3 * bytes);
}

void add_experts(const Op& op, const Choices& choices, Kernels& k) {
  if (choices.autocast) return fallback(op, k);
  if (choices.experts == ExpertsCode::batched_mm) return batched(op, k);
  const auto experts = static_cast<std::int64_t>(op.rows.size());
  const std::int64_t rows = std::accumulate(op.rows.begin(), op.rows.end(), std::int64_t{0});
  const double outputs = real(rows) * real(op.n);
  if (op.bias && op.pass == OpPass::forward) k.add(kind::gather, outputs, 4, gathers);
  Op product = op;
  product.kernels = 2;  // the shapes, made on the device
  product.calls = 1;
  k.op(std::move(product));
  if (op.bias && op.pass == OpPass::forward) k.add(kind::vectorised, outputs, 6);
  if (op.bias && op.pass == OpPass::backward_weight) put_at_few(k, rows, experts);
}

/// Halves of one tensor, whose rows beyond the last expert's are masked.
void add_expert_activation(const Op& op, const Choices& choices, Kernels& k) {
  const double n = k.elements(), bytes = width(choices);
  const bool is_forward = op.pass == OpPass::forward;
  if (is_forward) masked_copy(k, 2 * n, bytes);
  if (op.bias) {
    add_cut_gates(n, is_forward, k);
  } else if (is_forward) {
    k.all(kind::silu_of_slice, 2 * bytes).all(kind::slices, 3 * bytes);
  } else {
    k.all(kind::vectorised, 3 * bytes).all(kind::slices, 3 * bytes);
    k.all(kind::silu_backward_of_slice, 3 * bytes).add(kind::joined, 2 * n, 2 * bytes);
  }
  if (!is_forward) masked_copy(k, 2 * n, bytes);
}

/// The mask behind the product, routing weights, rows back to their tokens, and their sum.
void add_unpermute(const Op& op, const Choices& choices, Kernels& k) {
  const double n = k.elements(), tokens = pytorch::token_elements(op);
  const bool is_wide = sums_in_fp32(op) || choices.autocast;
  const double bytes = is_wide ? 4 : 2, held = width(choices);
  if (op.pass == OpPass::forward) {
    masked_copy(k, n, held);
    if (op.stops) return;
    k.all(choices.autocast ? kind::row_factor
          : is_wide        ? kind::mixed_row_factor
                           : kind::broadcast,
          held + bytes);
    k.tiny(1).tiny(1, gathers, 4'000).add(kind::gather, n, 2 * bytes, gathers);
    k.add(is_wide ? kind::row_sums : kind::sums_of_few_rows, n + tokens, bytes);
    if (is_wide && !choices.autocast) k.add(kind::vectorised, tokens, 6);
    return;
  }
  if (is_wide && !choices.autocast) k.add(kind::widened, tokens, 6);
  k.all(kind::expanded, bytes);
  put(k, op.m, n, n, bytes);
  k.all(is_wide && !choices.autocast ? kind::mixed : kind::vectorised, 2 * bytes + held);
  k.all(is_wide ? kind::row_factor : kind::broadcast, 2 * bytes);
  if (is_wide && !choices.autocast) k.all(kind::vectorised, 6);
  k.all(is_wide ? kind::row_sums : kind::short_row_sums, bytes);
  masked_copy(k, n, held);
}

}  // namespace moesim::hugging_face
