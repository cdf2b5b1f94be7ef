// Norms, products, activations, embedding and loss of Hugging Face transformers in eager PyTorch: a kernel
// for each line of the code (transformers 5.17, models/llama/modeling_llama.py: LlamaRMSNorm, LlamaMLP;
// loss/loss_utils.py) and autograd's for its backward; under autocast the casts that torch adds
// (aten/src/ATen/autocast_mode.cpp: linear in bf16, weights cast once for a forward pass).
#include <algorithm>

#include "models/software/apart.hpp"
#include "models/software/hugging_face.hpp"

namespace moesim::hugging_face {
namespace {

using pytorch::Kernels;
namespace kind = pytorch::kind;
constexpr KernelClass gathers = KernelClass::gather_scatter;

/// x.float(), its square, the mean, 1 / sqrt, x times that, back to bf16, times the weight.
void norm_forward(Kernels& k, bool is_short) {
  k.all(kind::widened, 6).all(kind::one_read, 8).all(is_short ? kind::short_row_sums : kind::row_sums, 4);
  k.tiny(2).all(kind::row_factor, 8).all(kind::vectorised, 6).all(kind::broadcast, 4);
}

/// Gradients of each of these, the weight's as a sum of columns, and of one in the residual stream the sum
/// with the gradient that comes by it. Gradients of heads are transposed.
void norm_backward(Kernels& k, NormOf of) {
  const bool is_of_heads = of == NormOf::heads;
  const Access& product = is_of_heads ? kind::strided : kind::vectorised;
  k.all(kind::broadcast, 4).all(product, 6);
  k.all(is_of_heads ? kind::strided_column_sums : kind::column_sums, 2).tiny(1);
  k.all(kind::widened, 6).all(product, 12).all(product, 12).all(kind::row_factor, 8);
  k.all(is_of_heads ? kind::short_row_sums : kind::row_sums, 4).tiny(3).all(kind::from_rows, 4);
  k.all(kind::copy, 8).all(kind::one_read, 8).all(kind::vectorised, 12).all(kind::vectorised, 6);
  if (of == NormOf::stream) k.all(kind::vectorised, 6);
}

/// Everything is in fp32, so nothing is cast.
void norm_in_fp32(Kernels& k, bool is_forward) {
  if (is_forward) {
    k.all(kind::one_read, 8).all(kind::row_sums, 4).tiny(2).all(kind::row_factor, 8).all(kind::row_factor, 8);
    return;
  }
  k.all(kind::row_factor, 8).all(kind::vectorised, 12).all(kind::column_sums, 4).tiny(1);
  k.all(kind::vectorised, 12).all(kind::vectorised, 12).all(kind::row_factor, 8).all(kind::row_sums, 4);
  k.tiny(3).all(kind::from_rows, 4).all(kind::copy, 8).all(kind::one_read, 8).all(kind::vectorised, 12);
  k.all(kind::vectorised, 12);
}

/// In fp32, on the multiprocessors' ordinary units.
void in_fp32(const Op& op, Kernels& k) {
  const double steps = static_cast<double>(op.m) * static_cast<double>(op.n) * static_cast<double>(op.k);
  k.add(kind::fp32_product, steps, 2 * static_cast<double>(op.bytes.count) / steps, KernelClass::products)
      .of(op.flops);
}

/// A router that chooses groups of experts first scores in fp32 (models/deepseek_v3:
/// DeepseekV3TopkRouter.forward), and casts its input and its weights for that.
void score_in_fp32(const Op& op, Kernels& k) {
  const auto elements = [](std::int64_t rows, std::int64_t width) {
    return static_cast<double>(rows) * static_cast<double>(width);
  };
  if (op.pass == OpPass::forward) {
    k.add(kind::widened, elements(op.m, op.k), 6).add(kind::widened, elements(op.n, op.k), 6);
    return in_fp32(op, k);
  }
  in_fp32(op, k);
  if (op.pass == OpPass::backward_input) k.add(kind::vectorised, elements(op.m, op.n), 6);
  if (op.pass == OpPass::backward_weight) k.add(kind::vectorised, elements(op.m, op.n), 6);
}

/// Outputs beyond which cuBLAS sets its counters to zero before a product: two waves of 256 x 128 on 132
/// multiprocessors, as profiles show it.
constexpr double most_outputs_without_counters = 264.0 * 256 * 128;

/// One of the matrices: cuBLAS's kernel, and the casts around it under autocast. The gradient of a bias is a
/// sum of columns.
void one_product(const Op& op, const Choices& choices, Kernels& k) {
  const auto elements = [](std::int64_t rows, std::int64_t width) {
    return static_cast<double>(rows) * static_cast<double>(width);
  };
  const bool is_cast = choices.autocast;
  if (op.pass == OpPass::forward && is_cast) {
    k.add(kind::vectorised, elements(op.n, op.k), 6);
    if (op.of_norm) k.add(kind::vectorised, elements(op.m, op.k), 6);
  }
  if (elements(op.m, op.n) > most_outputs_without_counters) k.tiny(1);
  k.op(op);
  if (op.pass == OpPass::backward_input && is_cast && op.of_norm) k.add(kind::widened, k.elements(), 6);
  if (op.pass != OpPass::backward_weight) return;
  if (is_cast) k.add(kind::widened, elements(op.m, op.n), 6);
  if (op.bias && op.groups == 1) k.tiny(1).add(kind::column_sums, elements(op.k, op.m), 2);
}

/// Bytes of an element on the residual stream.
double stream_bytes(const Choices& choices) { return choices.autocast ? 4 : 2; }

}  // namespace

void add_norm(const Op& op, const Choices& choices, Kernels& k) {
  const bool is_forward = op.pass == OpPass::forward;
  const bool is_of_heads = op.norm_of == NormOf::heads;
  if (choices.autocast && !is_of_heads) return norm_in_fp32(k, is_forward);
  if (!is_of_heads) return is_forward ? norm_forward(k, false) : norm_backward(k, op.norm_of);
  for (const std::int64_t rows : {op.m / 2, op.m - op.m / 2}) {  // of queries and of keys
    Kernels heads = k.over(rows, op.n);
    is_forward ? norm_forward(heads, true) : norm_backward(heads, op.norm_of);
  }
}

/// A product for each of the matrices that fused software has as one; input gradients are added up.
void add_products(const Op& op, const Choices& choices, Kernels& k) {
  if (op.stops) return;
  if (op.groups > 1) return score_in_fp32(op, k);
  const std::vector<Op> products = products_apart(op);
  for (Op one : products) {
    one.bias = op.bias;
    one.of_norm = op.of_norm;
    one_product(one, choices, k);
  }
  if (op.pass != OpPass::backward_input) return;
  for (std::size_t sum = 1; sum < products.size(); ++sum) k.all(kind::vectorised, 3 * stream_bytes(choices));
}

/// One sum for each result that is added forward; backward for each gradient beyond the first, since norms
/// count the one that they meet. Under autocast a bf16 result joins a stream in fp32, and its gradient is
/// cast.
void add_residual(const Op& op, const Choices& choices, Kernels& k) {
  if (op.stops) return;
  const bool is_forward = op.pass == OpPass::forward;
  const double streams = static_cast<double>(op.bytes.count) / (2 * std::max(1.0, k.elements()));
  const auto sums = static_cast<int>(is_forward ? streams - 2 : streams - 3);
  for (int sum = 0; sum < sums; ++sum) {
    if (choices.autocast && is_forward) {
      k.all(kind::mixed, 10);
    } else {
      k.all(kind::vectorised, 3 * stream_bytes(choices));
    }
  }
  if (choices.autocast && !is_forward) k.all(kind::vectorised, 6);
}

void add_activation(const Op& op, Kernels& k) {
  const bool is_gated = op.kind == OpKind::swiglu;
  if (op.pass == OpPass::forward) {
    k.all(kind::silu, 4);
    if (is_gated) k.all(kind::vectorised, 6);
    return;
  }
  if (is_gated) k.all(kind::vectorised, 6).all(kind::vectorised, 6);
  k.all(kind::silu_backward, 6);
}

/// Logits to fp32, log-softmax, and their gradients back.
void add_loss(const Op& op, Kernels& k) {
  constexpr KernelClass cross_entropy = KernelClass::loss;
  const double n = k.elements();
  if (op.pass == OpPass::forward) {
    k.split(kind::widened, n, 6, 4, cross_entropy).add(kind::log_softmax, n, 8, cross_entropy);
    k.tiny(1, cross_entropy, 16'000).tiny(3);  // its mean; the labels, shifted
    return;
  }
  k.split(kind::fill_fp32, n, 4, 4, cross_entropy).tiny(1, cross_entropy, 8'500);
  k.add(kind::log_softmax_backward, n, 12, cross_entropy);
  k.split(kind::vectorised, n, 6, 4, cross_entropy);
}

/// Rows by index, after places, angles and the mask of the whole model; whether the mask is needed at all
/// the host asks the device.
void add_embedding(const Op& op, const Choices& choices, Kernels& k) {
  if (op.pass == OpPass::forward) {
    k.add(kind::gather, k.elements(), 2 * stream_bytes(choices), gathers).tiny(2, gathers);
    k.tiny(16).read();
    if (choices.has_mask) k.read();
    return;
  }
  pytorch::add_embedding_gradient(op, choices.autocast ? 4 : 2, k);
}

}  // namespace moesim::hugging_face
