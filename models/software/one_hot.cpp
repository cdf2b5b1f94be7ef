#include "models/software/one_hot.hpp"

#include <algorithm>
#include <utility>

#include "models/base/real.hpp"
#include "models/software/pytorch.hpp"

namespace moesim::one_hot {
namespace {

using pytorch::Kernels;

constexpr double fp32 = 4;
/// Depth of an array of the TPU (Jouppi et al., CACM 2020).
constexpr std::int64_t array_depth = 128;

double bytes_of(Precision precision) { return real(size_of(precision).count); }

/// Sizes of an op between tokens and experts.
struct Masks {
  std::int64_t groups, tokens, places;  ///< places: E C
  double elements() const { return real(groups) * real(tokens) * real(places); }
};

Masks masks_of(const Op& op) {
  const std::int64_t groups = std::max<std::int64_t>(1, op.batch);
  return {.groups = groups, .tokens = op.sequence, .places = (op.m + groups - 1) / groups};
}

/// For each group `rows` x `width` over `depth`.
Op einsum(const Op& op, std::int64_t groups, std::int64_t rows, std::int64_t width, std::int64_t depth,
          Precision precision) {
  Op product = make_grouped_gemm(op.name, OpPass::forward,
                                 std::vector<std::int64_t>(static_cast<std::size_t>(groups), rows), width,
                                 depth, precision);
  product.pass = op.pass;
  product.module = op.module;
  product.kernel_class = KernelClass::gather_scatter;
  return product;
}

/// Bytes of a cumulative sum for each gate of each token: its input written, a scan's two passes, its result.
double scan_bytes(Sums sums) { return sums == Sums::scan ? fp32 + 4 * fp32 : fp32; }

}  // namespace

Op filled(Op product) {
  const auto fill = [](std::int64_t depth) { return (depth + array_depth - 1) / array_depth * array_depth; };
  if (product.rows_are_depth)
    std::transform(product.rows.begin(), product.rows.end(), product.rows.begin(), fill);
  else
    product.k = fill(product.k);
  return product;
}

// Softmax: maximum, sum, and the gates written. Then the mean of gates for the balancing loss; of each choice
// the maximum and where it is, the cumulative sum, and over its result the token's place and whether it fits.
// Masks of choices are made inside each kernel. Backward: sums of gates' gradients, then those of scores.
void add_gates(const Op& router, const Form& form, std::vector<Op>& kernels) {
  Kernels k(router, kernels);
  if (router.pass != OpPass::forward) {
    k.all({}, fp32).all({}, 2 * fp32);
    return;
  }
  k.all({}, fp32).all({}, fp32).all({}, 2 * fp32).all({}, fp32);
  const std::int64_t groups = std::max<std::int64_t>(1, router.batch);
  for (std::int64_t choice = 0; choice < router.top_k; ++choice) {
    k.all({}, fp32).all({}, fp32).all({}, scan_bytes(form.sums));
    if (form.sums == Sums::product) {
      Op triangle = einsum(router, groups, router.sequence, router.n, router.sequence, Precision::fp32);
      triangle.bytes = from_bytes(2 * fp32 * k.elements());  // the triangle is made by the product
      k.op(filled(std::move(triangle)));
    }
    k.all({}, fp32).all({}, fp32);
  }
}

void add_dispatch(const Op& permute, const Form& form, std::vector<Op>& kernels) {
  Kernels k(permute, kernels);
  const Masks masks = masks_of(permute);
  const auto product = [&](std::int64_t rows, std::int64_t depth) {
    k.op(filled(einsum(permute, masks.groups, rows, permute.n, depth, form.activations)));
  };
  if (permute.pass == OpPass::forward) {
    k.add({}, masks.elements(), 2 * bytes_of(form.activations), KernelClass::gather_scatter);
    product(masks.places, masks.tokens);
  } else {
    product(masks.tokens, masks.places);
  }
}

void add_combine(const Op& unpermute, const Form& form, std::vector<Op>& kernels) {
  Kernels k(unpermute, kernels);
  const Masks masks = masks_of(unpermute);
  const auto product = [&](std::int64_t rows, std::int64_t width, std::int64_t depth) {
    k.op(filled(einsum(unpermute, masks.groups, rows, width, depth, form.activations)));
  };
  if (unpermute.pass == OpPass::forward) {
    product(masks.tokens, unpermute.n, masks.places);
    return;
  }
  product(masks.places, unpermute.n, masks.tokens);
  product(masks.tokens, masks.places, unpermute.n);  // the gradient of the mask, of which gates' are sums
  k.add({}, masks.elements(), bytes_of(form.activations), KernelClass::gather_scatter);
}

void add_embedding(const Op& embedding, const Form& form, std::vector<Op>& kernels) {
  Kernels k(embedding, kernels);
  const bool is_forward = embedding.pass == OpPass::forward;
  const std::int64_t vocabulary = embedding.k;
  Op product = is_forward ? make_gemm(embedding.name, OpPass::forward, embedding.m, embedding.n, vocabulary,
                                      form.activations)
                          : make_gemm(embedding.name, OpPass::backward_weight, vocabulary, embedding.n,
                                      embedding.m, form.activations);
  product.bytes -= from_bytes(real(embedding.m) * real(vocabulary) * bytes_of(form.activations));
  product.module = embedding.module;
  k.op(filled(std::move(product)));
}

double kept(const Op& permute, const Form& form) {
  return 2 * masks_of(permute).elements() * bytes_of(form.activations);
}

}  // namespace moesim::one_hot
