// Kernels of torch.compile (Inductor, Triton) for what lies between the products of a block.
#include "models/software/apart.hpp"
#include "models/software/pytorch.hpp"
#include "models/software/torch_blocks.hpp"

namespace moesim::pytorch {
namespace {

constexpr KernelClass gathers = KernelClass::gather_scatter;

/// triton_poi: what is pointwise, however much of it.
constexpr Access pointwise = kind::of_bytes("pointwise", 4.3, 500);
/// triton_red: an RMSNorm, with the sum before it; rows of 2,048 and of 4,096 alike.
constexpr Access reduction = kind::of_elements("reduction", 680, 300);
/// Its backward with the weight's gradient and all sums of gradients before it: 88 us for 2^24 elements, 43
/// and 45 for 2^23.
constexpr Access reduction_backward = kind::of_elements("reduction_backward", 190, 300);
/// Of the loss: 719 and 663 us for 5.3e8 logits, 383 and 493 for 2.6e8, in rows of 128,256 and of 32,000
/// (configs/validation/software-h200.json, "compiled": "loss, ...").
constexpr Access loss = kind::of_elements("loss", 705),
                 loss_backward = kind::of_elements("loss_backward", 640);
/// Rows by index, with the norm or the weights computed anew; gathered, scattered, and both.
constexpr Access gather_scaled = kind::of_elements("gather_scaled", 762, 500),
                 gather = kind::of_bytes("gather", 5.4, 500),
                 scatter = kind::of_elements("scatter", 1031, 500),
                 scatter_scaled = kind::of_elements("scatter_scaled", 541, 500);

void add_norm(Kernels& k, const Op& op, std::vector<Op>& kernels) {
  if (op.pass == OpPass::forward) {
    k.all(reduction, 4);
    return;
  }
  k.all(reduction_backward, 14);
  kernels.back().kernels = 3;
}

/// What a fused kernel moves for each element.
double fused_bytes(const Op& op) {
  return static_cast<double>(op.bytes.count) / (static_cast<double>(op.m) * static_cast<double>(op.n));
}

/// Queries and keys: to fp32, products of complex numbers, which Inductor leaves to PyTorch, back.
void add_rotary(Kernels& k, const Op& op) {
  if (!is_plain_rotary(op)) {
    k.all(pointwise, fused_bytes(op));
    return;
  }
  const double part = k.elements() / 2;
  if (op.pass != OpPass::forward) k.add(kind::few(2700), 1, 4);
  for (int i = 0; i < 2; ++i)
    k.add(pointwise, part, 6).add(kind::complex_product, part, 8).add(pointwise, part, 6);
}

void add_core(const Op& op, const BlockChoices& choices, const Software& library, std::vector<Op>& kernels) {
  const bool repeats = choices.repeats_keys && op.kv_heads < op.heads;
  const bool is_forward = op.pass == OpPass::forward;
  const std::int64_t keys = op.kv_sequence > 0 ? op.kv_sequence : op.sequence;
  const double rows = static_cast<double>(op.batch) * static_cast<double>(keys * op.heads);
  Kernels k(op, kernels);
  const auto add_copies = [&] {
    for (const std::int64_t width : {op.head_dim, op.value_head_dim}) {
      const double shared = static_cast<double>(op.kv_heads) / static_cast<double>(op.heads);
      k.add(pointwise, rows * static_cast<double>(width), 2 + 2 * shared);
    }
  };
  if (repeats && is_forward) add_copies();
  library.add_kernels(core_of(op, choices), kernels);
  if (repeats && !is_forward) add_copies();  // sums of gradients over the heads that share them
}

/// Both products of a gate by themselves; gradients are added up in kernels that read them.
void add_products(const Op& op, std::int64_t launches, std::vector<Op>& kernels) {
  for (Op product : products_apart(op)) {
    product.kernels = launches;
    kernels.push_back(std::move(product));
  }
}

/// Backward also computes the activation once more.
void add_activation(Kernels& k, const Op& op) {
  const double halves = op.kind == OpKind::swiglu ? 2 : 1;
  k.all(pointwise, op.pass == OpPass::forward ? 2 * (halves + 1) : 2 * (2 * halves + 1));
}

/// The first sum of a layer is in the norm that reads it; the second adds both results again. Gradients are
/// added up in norms.
void add_residual(Kernels& k, const Op& op) {
  if (op.pass == OpPass::forward && op.part != LayerPart::attention) k.all(pointwise, fused_bytes(op) + 2);
}

void add_router(Kernels& k, const Op& op) {
  if (op.pass == OpPass::forward) {
    k.all(pointwise, 6).add(kind::topk, k.elements(), 4, gathers);
    k.add(kind::few(5000), 1, 4, gathers).tiny(2);
    return;
  }
  k.add(kind::few(3500), 1, 4, gathers).add(kind::few(2500), 1, 4).all(pointwise, 6);
}

void add_permute(Kernels& k, const Op& op, std::vector<Op>& kernels) {
  const double n = k.elements();
  if (op.pass == OpPass::forward) {
    add_argsort(op, static_cast<double>(op.m), kernels);
    k.add(kind::few(1600), 1, 4, gathers).add(gather_scaled, n, 4, gathers);
    return;
  }
  k.add(pointwise, token_elements(op), 4, gathers).add(scatter_scaled, n, 8, gathers).tiny(1);
}

void add_unpermute(Kernels& k, const Op& op) {
  const double n = k.elements(), tokens = token_elements(op);
  if (op.pass == OpPass::forward) {
    k.add(kind::fill, tokens, 2).add(kind::fill, tokens, 2).add(scatter, n, 4, gathers);
  } else {
    k.add(gather, n, 4, gathers);
  }
}

/// Cross entropy over bf16 logits: one kernel reads them, backward one more writes their gradients.
void add_loss(Kernels& k, const Op& op) {
  if (op.pass == OpPass::forward) {
    k.add(loss, k.elements(), 2, KernelClass::loss).tiny(2, KernelClass::loss);
  } else {
    k.add(loss_backward, k.elements(), 4, KernelClass::loss);
  }
}

}  // namespace

void add_compiled_block_kernels(const Op& op, const BlockChoices& choices, const Software& library,
                                std::vector<Op>& kernels) {
  Kernels k(op, kernels);
  switch (op.module) {
    case Module::projection:
      return add_products(op, 1, kernels);
    case Module::experts:
      return add_products(op, 2, kernels);  // the first of the two prepares addresses
    case Module::norm:
      return add_norm(k, op, kernels);
    case Module::rotary:
      return add_rotary(k, op);
    case Module::core:
      return add_core(op, choices, library, kernels);
    case Module::activation:
    case Module::expert_activation:
      return add_activation(k, op);
    case Module::residual:
      return add_residual(k, op);
    case Module::router:
      return add_router(k, op);
    case Module::permute:
      return add_permute(k, op, kernels);
    case Module::unpermute:
      return add_unpermute(k, op);
    case Module::loss:
      return add_loss(k, op);
    default:
      library.add_kernels(op, kernels);
  }
}

/// Of a norm 1 / rms of each row; of the choices of experts their indices; of rows for experts what they are
/// before their weights, and the sum that the norm was of.
double kept_by_compiled_blocks(const Op& op, const BlockChoices& choices, const Software& library) {
  const double elements = static_cast<double>(op.m) * static_cast<double>(op.n);
  switch (op.module) {
    case Module::norm:
      return op.kept + 4 * static_cast<double>(op.m);
    case Module::core:
      return op.kept + kept_by_repeats(op, choices);
    case Module::router:
      return op.kept + 8 * static_cast<double>(op.m) * static_cast<double>(op.top_k);
    case Module::permute:
      return op.kept + 2 * elements + 2 * token_elements(op);
    case Module::loss:
      return 2 * elements;
    case Module::embedding:
      return library.kept_by(op);
    default:
      return op.kept;
  }
}

}  // namespace moesim::pytorch
