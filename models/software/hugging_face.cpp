// Models of Hugging Face transformers run eagerly in PyTorch: a kernel for each line of the model's code, and
// autograd's for its backward. Kernels and their order as the code of transformers 5.17 has them
// (models/llama/modeling_llama.py: LlamaRMSNorm, apply_rotary_pos_emb, LlamaMLP; models/mixtral:
// MixtralExperts; integrations/moe.py: grouped_mm_experts_forward; integrations/sdpa_attention.py;
// loss/loss_utils.py) and profiles of it show them (configs/validation/software-h200.json).
#include <algorithm>
#include <memory>

#include "models/software/host.hpp"
#include "models/software/pytorch.hpp"
#include "models/software/software.hpp"

namespace moesim {
namespace {

using namespace literals;
using pytorch::Kernels;
namespace kind = pytorch::kind;
constexpr KernelClass gathers = KernelClass::gather_scatter;

/// Of rows that each token has for its experts.
double token_elements(const Op& op) {
  return static_cast<double>(op.m) * static_cast<double>(op.n) /
         static_cast<double>(std::max<std::int64_t>(1, op.top_k));
}

/// x.float(), its square, the mean, 1 / sqrt, x times that, back to bf16, times the weight.
void norm_forward(Kernels& k, bool is_short) {
  k.all(kind::widened, 6).all(kind::one_read, 8).all(is_short ? kind::short_row_sums : kind::row_sums, 4);
  k.tiny(2).all(kind::row_factor, 8).all(kind::vectorised, 6).all(kind::broadcast, 4);
}

/// Gradients of each of these, the weight's as a sum of columns, and the sum with the residual's gradient.
/// Norms of heads work on transposed gradients.
void norm_backward(Kernels& k, bool is_short) {
  k.all(kind::broadcast, 4).all(kind::vectorised, 6);
  k.all(is_short ? kind::strided_column_sums : kind::column_sums, 2).tiny(1);
  k.all(kind::widened, 6).all(kind::vectorised, 12).all(kind::vectorised, 12).all(kind::row_factor, 8);
  k.all(is_short ? kind::short_row_sums : kind::row_sums, 4).tiny(3).all(kind::from_rows, 4);
  k.all(kind::copy, 8).all(kind::one_read, 8).all(kind::vectorised, 12).all(kind::vectorised, 6);
  k.all(kind::vectorised, 6);
}

/// x cos + rotate_half(x) sin, for queries and for keys: two halves stand for them, since the laws are
/// linear.
void rotary_forward(Kernels& k) {
  const double n = k.elements();
  for (const double part : {n / 2, n / 2}) {
    k.add(kind::strided_broadcast, part, 4).add(kind::strided, part / 2, 4).add(kind::joined_halves, part, 4);
    k.add(kind::broadcast, part, 4).add(kind::slices, part, 6);
  }
}

void rotary_backward(Kernels& k) {
  const double n = k.elements();
  for (const double part : {n / 2, n / 2}) {
    k.add(kind::strided_broadcast, part, 4).add(kind::strided_broadcast, part, 4);
    k.add(kind::strided, part / 2, 4);
    for (int half = 0; half < 2; ++half) k.add(kind::fill, part, 2).add(kind::strided, part / 2, 4);
    k.add(kind::vectorised, part, 6).add(kind::slices, part, 6).add(kind::strided, part, 4);
  }
}

void activation(Kernels& k, const Op& op) {
  const bool is_gated = op.kind == OpKind::swiglu;
  if (op.pass == OpPass::forward) {
    k.all(kind::silu, 4);
    if (is_gated) k.all(kind::vectorised, 6);
    return;
  }
  if (is_gated) k.all(kind::vectorised, 6).all(kind::vectorised, 6);
  k.all(kind::silu_backward, 6);
}

/// Halves of one tensor, whose rows beyond the last expert's are masked.
void expert_activation(Kernels& k, const Op& op) {
  const double n = k.elements();
  if (op.pass == OpPass::forward) {
    k.add(kind::copy, 2 * n, 4).add(kind::masked_rows, 2 * n, 2);
    k.all(kind::silu_of_slice, 4).all(kind::slices, 6);
    return;
  }
  k.all(kind::vectorised, 6).all(kind::slices, 6).all(kind::silu_backward_of_slice, 6);
  k.add(kind::joined, 2 * n, 4).add(kind::copy, 2 * n, 4).add(kind::masked_rows, 2 * n, 2);
}

/// Choices that one kernel of torch's radix sort takes.
constexpr std::int64_t most_sorted_at_once = 2048;

/// Sorting of the choices, rows of tokens by index, and the mask before the product; backward adds the rows'
/// gradients up at their tokens.
void permute(Kernels& k, const Op& op) {
  const double n = k.elements();
  const double tokens = token_elements(op);
  if (op.pass == OpPass::forward) {
    k.tiny(op.m <= most_sorted_at_once ? 14 : 34, gathers).add(kind::gather, n, 4, gathers).tiny(10);
    k.add(kind::masked_rows, n, 2);
    return;
  }
  k.add(kind::copy, n, 4).add(kind::masked_rows, n, 2);
  k.add(kind::fill, tokens, 2).add(kind::copy, tokens, 4, gathers).add(kind::index_put, n, 4, gathers);
  k.tiny(40, gathers).add(kind::vectorised, tokens, 6);
}

/// The mask behind the product, routing weights, rows back to their tokens, and their sum.
void unpermute(Kernels& k, const Op& op) {
  const double n = k.elements();
  const double tokens = token_elements(op);
  if (op.pass == OpPass::forward) {
    k.all(kind::copy, 4).all(kind::masked_rows, 2).all(kind::broadcast, 4).tiny(2, gathers);
    k.add(kind::gather, n, 4, gathers).add(kind::sums_of_few_rows, n + tokens, 2);
    return;
  }
  k.all(kind::expanded, 2).all(kind::fill, 2).add(kind::copy, n, 4, gathers);
  k.add(kind::index_put, n, 4, gathers).tiny(20, gathers);
  k.all(kind::vectorised, 6).all(kind::broadcast, 4).all(kind::short_row_sums, 2);
  k.all(kind::copy, 4).all(kind::masked_rows, 2);
}

/// One sum for each result that is added forward; backward for each gradient beyond the first, since norms
/// count the one that they meet.
void residual(Kernels& k, const Op& op) {
  const double streams = static_cast<double>(op.bytes.count) / (2 * std::max(1.0, k.elements()));
  const auto sums = static_cast<int>(op.pass == OpPass::forward ? streams - 2 : streams - 3);
  for (int sum = 0; sum < sums; ++sum) k.all(kind::vectorised, 6);
}

void router(Kernels& k, const Op& op) {
  if (op.pass == OpPass::forward) {
    k.all(kind::widened, 6).all(kind::softmax, 8).add(kind::topk, k.elements(), 4, gathers).tiny(5);
    return;
  }
  k.tiny(12).all(kind::vectorised, 12).all(kind::softmax, 12);
}

/// Logits to fp32, log-softmax, and their gradients back.
void loss(Kernels& k, const Op& op) {
  constexpr KernelClass cross_entropy = KernelClass::loss;
  const double n = k.elements();
  if (op.pass == OpPass::forward) {
    k.add(kind::widened, n, 6, cross_entropy).add(kind::log_softmax, n, 8, cross_entropy);
    k.tiny(3, cross_entropy);
    return;
  }
  k.add(kind::fill_fp32, n, 4, cross_entropy).tiny(2, cross_entropy);
  k.add(kind::log_softmax_backward, n, 12, cross_entropy).add(kind::vectorised, n, 6, cross_entropy);
}

/// Rows by index; backward sets the whole gradient to zero, sorts the tokens and adds their rows.
void embedding(Kernels& k, const Op& op) {
  if (op.pass == OpPass::forward) {
    k.add(kind::gather, k.elements(), 4, gathers);
    return;
  }
  k.add(kind::fill, static_cast<double>(op.k) * static_cast<double>(op.n), 2).tiny(27, gathers);
  k.add(kind::embedding_gradient, k.elements(), 6, gathers);
}

/// cuDNN's kernels; where heads share keys and values their gradients are added up head by head.
void attention(const Op& op, std::vector<Op>& kernels) {
  kernels.push_back(op);
  if (op.pass == OpPass::forward || op.kv_heads == op.heads) return;
  const std::int64_t keys = op.kv_sequence > 0 ? op.kv_sequence : op.sequence;
  const double rows = static_cast<double>(op.batch) * static_cast<double>(keys * op.heads);
  Kernels k(op, kernels);
  for (const std::int64_t width : {op.head_dim, op.value_head_dim})
    k.add(kind::head_sums, rows * static_cast<double>(width), 2, KernelClass::attention);
}

/// Of a fused product the one with so many of its columns.
Op part_of(const Op& op, std::int64_t width) {
  const auto product = [&](std::int64_t m, std::int64_t n, std::int64_t k) {
    return make_gemm(op.name, op.pass, m, n, k, op.precision);
  };
  if (op.pass == OpPass::forward) return product(op.m, width, op.k);
  return op.pass == OpPass::backward_input ? product(op.m, op.n, width) : product(width, op.n, op.k);
}

/// A product for each of the matrices that fused software has as one; input gradients are added up.
void products(const Op& op, std::vector<Op>& kernels) {
  if (op.columns[0] == 0) return kernels.push_back(op);
  int sums = -1;
  for (const std::int64_t width : op.columns) {
    if (width == 0) continue;
    Op one = part_of(op, width);
    one.part = op.part;
    kernels.push_back(std::move(one));
    ++sums;
  }
  if (op.pass != OpPass::backward_input) return;
  Kernels k(op, kernels);
  for (int sum = 0; sum < sums; ++sum) k.all(kind::vectorised, 6);
}

class HuggingFace final : public Software {
 public:
  void add_kernels(const Op& op, std::vector<Op>& kernels) const override {
    Kernels k(op, kernels);
    const bool is_forward = op.pass == OpPass::forward;
    switch (op.module) {
      case Module::projection:
        return products(op, kernels);
      case Module::core:
        return attention(op, kernels);
      case Module::update:
        return pytorch::update(op, kernels);
      case Module::norm:
        return is_forward ? norm_forward(k, is_short(op)) : norm_backward(k, is_short(op));
      case Module::rotary:
        return is_forward ? rotary_forward(k) : rotary_backward(k);
      case Module::activation:
        return activation(k, op);
      case Module::expert_activation:
        return expert_activation(k, op);
      case Module::residual:
        return residual(k, op);
      case Module::permute:
        return permute(k, op);
      case Module::unpermute:
        return unpermute(k, op);
      case Module::router:
        return router(k, op);
      case Module::loss:
        return loss(k, op);
      case Module::embedding:
        return embedding(k, op);
      case Module::bucket_in:
      case Module::bucket_out:
      case Module::shards_in:
      case Module::gathered_out:
      case Module::gradients_in:
      case Module::gradients_out:
        return pytorch::add_copies(op, kernels);
      default:  // rotary parts of latent attention, shared gates, rows between ranks: as fused kernels
        kernels.push_back(op);
    }
  }

  /// Of a norm its input in fp32, what comes before the weight, and its output where that is kept; of SwiGLU
  /// also the activated half; of experts the rows before their weights; of the loss the log-probabilities.
  double kept_by(const Op& op) const override {
    const double elements = static_cast<double>(op.m) * static_cast<double>(op.n);
    switch (op.module) {
      case Module::norm:
        return op.kept + 4 * elements + 4 * static_cast<double>(op.m);
      case Module::activation:
      case Module::expert_activation:
        return op.kept + (op.kind == OpKind::swiglu ? 2 * elements : 0);
      case Module::unpermute:
        return op.kept + 2 * elements;
      case Module::loss:
        return 4 * elements;
      default:
        return op.kept;
    }
  }

  bool holds_as_computed() const override { return true; }

  /// Logits and their copy in fp32 forward; backward the gradients of the log-probabilities and of the copy.
  double working_bytes(const Op& op) const override {
    if (op.module != Module::loss) return 0;
    return (op.pass == OpPass::forward ? 6.0 : 8.0) * static_cast<double>(op.m) * static_cast<double>(op.n);
  }

  explicit HuggingFace(const HostTimes& host)
      : habits_{.fusion = {},
                .casts_in_update = false,
                .tensor_backward = TensorBackward::in_turn,
                .recomputes_parts = false,
                .has_dropout = false,
                .host = host} {}

  /// DTensor gathers an input for its product, which saves it (torch/distributed/tensor/parallel/style.py).
  bool keeps_gathered() const override { return true; }

  const SoftwareHabits& habits() const override { return habits_; }

 private:
  /// Of the heads of queries and keys.
  static bool is_short(const Op& op) { return op.n <= 256; }

  SoftwareHabits habits_;
};

/// Medians of some 40 steps of nine models on the hosts of two H200 (configs/validation/software-h200.json,
/// "host_ms" over launches: forward 28 to 76 us, backward 18 to 40), and what reading one number takes there.
/// The same code runs up to twice as fast on one day as on another.
constexpr HostTimes usual_host{
    .forward = 45_us, .backward = 30_us, .update = 15_us, .call = 100_us, .start = 100_us, .wait = 16_us};

std::unique_ptr<const Software> make(Reader& reader) {
  return std::make_unique<HuggingFace>(read_host(reader, usual_host));
}

}  // namespace

extern constexpr Entry<Software> hugging_face_software{
    "hugging_face", "Hugging Face transformers in eager PyTorch: a kernel for each line of the model", make};

}  // namespace moesim
