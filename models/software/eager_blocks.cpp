#include <algorithm>

#include "models/software/apart.hpp"
#include "models/software/members.hpp"
#include "models/software/pytorch.hpp"
#include "models/software/torch_blocks.hpp"

namespace moesim::pytorch {
namespace {

constexpr KernelClass gathers = KernelClass::gather_scatter;

// Laws of kernels that only such blocks have; the same measurements as those of pytorch.hpp.
/// Sums over the heads that share a key, by element of the sum.
constexpr Access repeat_sums = kind::of_elements("repeat_sums", 240, 2000);
/// GammaBetaBackwardCUDAKernelTemplate: a block for 32 columns goes down all rows, 4,096 of them in 19.9 us
/// (blocks of 2,048 columns, of which the device holds all at once).
Access norm_weights(const Op& op) {
  constexpr double rows_per_us = 206;
  const double columns = std::min<double>(static_cast<double>(op.n), 132 * 32);
  Access access = kind::of_elements("norm_weights", rows_per_us * columns / 1e3, 1000);
  access.share = 3.2 / 4.8;
  return access;
}

void add_norm(Kernels& k, const Op& op) {
  if (op.pass == OpPass::forward) {
    k.all(kind::norm, 4);
    return;
  }
  k.all(kind::norm_input, 6).all(norm_weights(op), 4);
  if (op.norm_of == NormOf::stream) k.all(kind::vectorised, 6);
}

/// To fp32, times cos + i sin, back to bf16, for queries and for keys: two halves stand for them.
void add_rotary(Kernels& k, const Op& op) {
  const double part = k.elements() / 2;
  for (int i = 0; i < 2; ++i) {
    k.add(kind::widened, part, 6);
    if (op.pass != OpPass::forward) k.add(kind::few(2400), 1, 4);
    k.add(kind::complex_product, part, 8).add(kind::vectorised, part, 6);
  }
}

struct Repeats {
  double keys = 0;    ///< elements of keys, or of values, of all heads
  double shared = 1;  ///< heads that share one
};

Repeats repeats_of(const Op& op) {
  const std::int64_t keys = op.kv_sequence > 0 ? op.kv_sequence : op.sequence;
  return {static_cast<double>(op.batch) * static_cast<double>(keys) * static_cast<double>(op.heads),
          static_cast<double>(op.heads) / static_cast<double>(std::max<std::int64_t>(1, op.kv_heads))};
}

void add_core(const Op& op, const BlockChoices& choices, const Software& library, std::vector<Op>& kernels) {
  const bool repeats = choices.repeats_keys && op.kv_heads < op.heads;
  const Repeats of = repeats_of(op);
  Kernels k(op, kernels);
  const auto widths = {op.head_dim, op.value_head_dim};
  if (repeats && op.pass == OpPass::forward) {
    for (const std::int64_t width : widths)
      k.add(kind::strided, of.keys * static_cast<double>(width), 2 + 2 / of.shared);
  }
  library.add_kernels(core_of(op, choices), kernels);
  if (!repeats || op.pass == OpPass::forward) return;
  for (const std::int64_t width : widths)
    k.add(repeat_sums, of.keys / of.shared * static_cast<double>(width), 2 * of.shared + 2);
}

/// Each grouped product prepares its addresses by a kernel of its own.
void add_experts(const Op& op, bool sums_gradients, std::vector<Op>& kernels) {
  const std::vector<Op> products = products_apart(op);
  for (Op product : products) {
    product.kernels = 2;
    kernels.push_back(std::move(product));
  }
  if (!sums_gradients || op.pass != OpPass::backward_input) return;
  double rows = 0;
  for (const std::int64_t of_expert : op.rows) rows += static_cast<double>(of_expert);
  Kernels k(op, kernels);
  for (std::size_t sum = 1; sum < products.size(); ++sum)
    k.add(kind::vectorised, rows * static_cast<double>(op.n), 6);
}

/// Softmax in fp32, the choices, and how many went to each expert.
void add_router(Kernels& k, const Op& op) {
  if (op.pass == OpPass::forward) {
    k.all(kind::widened, 6).all(kind::softmax, 8).add(kind::topk, k.elements(), 4, gathers);
    k.add(kind::few(5000), 1, 4, gathers).tiny(3).tiny(2, gathers);
    return;
  }
  k.add(kind::fill_fp32, k.elements(), 4).add(kind::few(8000), 1, 4, gathers).tiny(2);
  k.all(kind::softmax, 12).all(kind::vectorised, 6);
}

/// Rows by index in the order of experts, times their weights in fp32.
void add_permute(Kernels& k, const Op& op, std::vector<Op>& kernels) {
  const double n = k.elements(), tokens = token_elements(op), rows = static_cast<double>(op.m);
  if (op.pass == OpPass::forward) {
    add_argsort(op, rows, kernels);
    k.add(kind::few(4200), 1, 4, gathers).add(kind::gather_again, n, 4, gathers);
    k.all(kind::widened, 6).all(kind::row_factor, 8).all(kind::vectorised, 6);
    return;
  }
  k.all(kind::widened, 6).all(kind::row_factor, 8).all(kind::vectorised, 12).all(kind::row_sums, 4);
  k.all(kind::vectorised, 6).add(kind::fill, tokens, 2).add(kind::scatter_add, n, 6, gathers);
  k.add(kind::few(32000), 1, 4, gathers).tiny(12, gathers);  // of weights by index: sorted and added up
}

void add_unpermute(Kernels& k, const Op& op) {
  const double n = k.elements();
  if (op.pass == OpPass::forward) {
    k.add(kind::fill, token_elements(op), 2).add(kind::scatter_add, n, 6, gathers);
  } else {
    k.add(kind::gather_again, n, 4, gathers);
  }
}

}  // namespace

bool is_plain_rotary(const Op& op) {
  return static_cast<double>(op.bytes.count) <= 4.5 * static_cast<double>(op.m) * static_cast<double>(op.n);
}

Op core_of(const Op& op, const BlockChoices& choices) {
  if (!choices.repeats_keys || op.kind != OpKind::attention || op.kv_heads == op.heads) return op;
  Op core = make_attention(op.pass,
                           {.batch = op.batch,
                            .heads = op.heads,
                            .kv_heads = op.heads,
                            .sequence = op.sequence,
                            .kv_sequence = op.kv_sequence,
                            .head_dim = op.head_dim,
                            .value_head_dim = op.value_head_dim,
                            .window = op.window,
                            .causal = op.causal,
                            .dropout = op.dropout},
                           op.precision);
  core.name = op.name;
  core.part = op.part;
  core.core = op.core;
  core.flops = op.flops;
  return core;
}

void add_argsort(const Op& op, double numbers, std::vector<Op>& kernels) {
  constexpr std::int64_t launches = 24;  // with copies, indices and zeros before each pass
  Kernels(op, kernels).add(kind::of_elements("argsort", 11.5, 61'000 / launches), numbers, 64, gathers);
  kernels.back().kernels = launches;
}

double kept_by_repeats(const Op& op, const BlockChoices& choices) {
  if (!choices.repeats_keys || op.kind != OpKind::attention) return 0;
  const Repeats of = repeats_of(op);
  return 2 * of.keys * (1 - 1 / of.shared) * static_cast<double>(op.head_dim + op.value_head_dim);
}

void add_eager_block_kernels(const Op& op, const BlockChoices& choices, const Software& library,
                             std::vector<Op>& kernels) {
  Kernels k(op, kernels);
  switch (op.module) {
    case Module::norm:
      return add_norm(k, op);
    case Module::rotary:
      return is_plain_rotary(op) ? add_rotary(k, op) : library.add_kernels(op, kernels);
    case Module::core:
      return add_core(op, choices, library, kernels);
    case Module::experts:
      return add_experts(op, true, kernels);
    case Module::expert_activation: {
      Op dense = op;
      dense.module = Module::activation;
      return library.add_kernels(dense, kernels);
    }
    case Module::router:
      return add_router(k, op);
    case Module::permute:
      return add_permute(k, op, kernels);
    case Module::unpermute:
      return add_unpermute(k, op);
    default:
      library.add_kernels(op, kernels);
  }
}

/// Of a norm 1 / rms of each row; of SwiGLU the activated half; of the choices of experts their indices three
/// times in 64 bits and their weights; of rows for experts their copy in fp32.
double kept_by_eager_blocks(const Op& op, const BlockChoices& choices, const Software& library) {
  const double elements = static_cast<double>(op.m) * static_cast<double>(op.n);
  switch (op.module) {
    case Module::norm:
      return op.kept + 4 * static_cast<double>(op.m);
    case Module::core:
      return op.kept + kept_by_repeats(op, choices);
    case Module::activation:
    case Module::expert_activation:
      return op.kept + (op.kind == OpKind::swiglu ? 2 * elements : 0);
    case Module::router:
      return op.kept + 28 * static_cast<double>(op.m) * static_cast<double>(op.top_k);
    case Module::permute:
      return op.kept + 4 * elements;
    case Module::unpermute:
      return op.kept;
    default:
      return library.kept_by(op);
  }
}

std::unique_ptr<const Software> library_of_models() {
  static const Value no_keys{.kind = Value::Kind::object};
  Reader reader(no_keys, "software");
  return software_named("hugging_face").make(reader);
}

}  // namespace moesim::pytorch
