// DeepSeek's own training software: fp8 products with a scale for every 128 numbers, DeepEP, and kernels
// that cast, transpose and sum on the way. Which kernels run for an op, and how fast those go that are no
// product or attention, was read off the published trace of a training step (deepseek-ai/profile-data,
// train.json: an H800, 112 multiprocessors beside 20 that exchange tokens; names are those of its kernels).
// Its host issues the 240 kernels of a forward and a backward in 12 of the 30 ms that they take: it holds
// nothing up, and is left out.
#include <algorithm>
#include <memory>

#include "models/base/at.hpp"
#include "models/base/real.hpp"
#include "models/software/pytorch.hpp"
#include "models/software/software.hpp"

namespace moesim {
namespace {

using pytorch::Kernels;

/// Of 3.35 TB/s.
constexpr Access of_bytes(std::string_view name, double terabytes_per_second, std::int64_t start_ns = 0) {
  return {.share = terabytes_per_second / 3.35, .start = Time{start_ns * 1000}, .name = name};
}
/// A rate of 112 multiprocessors of 1,980 MHz: so many of what it counts in a microsecond.
constexpr Access of_count(std::string_view name, double each_microsecond) {
  return {.share = 0.9, .per_cycle = each_microsecond / 112 / 1980, .name = name};
}

// Norms are launched in blocks for all 132 multiprocessors, and those that are not free take a second round.
constexpr Access norm = of_bytes("ln_fwd", 1.05), norm_backward = of_bytes("ln_bwd", 1.25);
constexpr Access vectorised = of_bytes("vectorised", 3.0), copy = of_bytes("copy", 3.1),
                 rotary = of_bytes("rotary", 3.1), sums = of_bytes("sums", 2.2);
/// Rows, with a scale for every 128 numbers of each; columns, transposed; and back to bf16.
constexpr Access cast_rows = of_bytes("per_token_cast_to_fp8", 2.1, 6'000),
                 cast_of_rows = of_bytes("per_token_cast_to_fp8_of_experts", 2.4, 6'000),
                 cast_columns = of_bytes("per_channel_cast_and_transpose", 2.4, 3'000),
                 cast_back = of_bytes("cast_back", 2.37, 3'000),
                 cast_special = of_bytes("per_token_cast_to_fp8_special_fmt", 1.27),
                 cast_special_back = of_bytes("per_token_cast_back_special_fmt", 1.7);
constexpr Access transpose = of_bytes("batched_transpose", 2.5, 2'000);
constexpr Access activation = of_bytes("swiglu_and_cast", 2.4, 3'000),
                 activation_backward = of_bytes("swiglu_backward", 2.35);
/// Rows that arrived to the experts that want them, and their results added up again.
constexpr Access expand = of_bytes("expand_to_fused", 2.45), reduce = of_bytes("reduce_fused", 2.9);
/// 32,768 rows in 70 and 171 us.
constexpr Access count_rows = of_count("clean_and_count_expert", 468),
                 map_rows = of_count("get_fused_mapping", 192);
/// 4,096 x 256 scores in 70 us.
constexpr Access topk = of_count("gatherTopK", 14'980);
/// Weight gradients, both of whose operands have scales along the depth: 643 TFLOPS of attention, 719 of
/// experts, on two streams no more than on one.
constexpr Access weight_product = of_count("fp8_dptp128c_acc", 690e6 / 2);

constexpr KernelClass gathers = KernelClass::gather_scatter;
constexpr double scale_bytes = 4.0 / 128;  // fp32, for each number
constexpr double cast_bytes = 2 + 1 + scale_bytes, special_bytes = 2 + 1.5 + scale_bytes;
constexpr std::int64_t scales_ns = 5'000;  // the transpose of a cast's scales, whatever its size

class DeepSeek final : public Software {
 public:
  /// 44.4 GB/s, the wire rate of DeepEP's published exchanges among 64 ranks, against the mean of the eight
  /// exchanges of the trace, beside compute.
  DeepSeek()
      : habits_{.fusion = {},
                .is_of_gpus = true,
                .exchanges = {.library = "deepep", .multiprocessors = 20, .slowed_by_compute = 44.4 / 30.3},
                .since = Generation::hopper,
                .since_key = "software"} {}

  void add_kernels(const Op& op, std::vector<Op>& kernels) const override {
    Kernels k(op, kernels);
    switch (op.module) {
      case Module::projection:
      case Module::experts:
        return add_product(op, k);
      case Module::core:
        return add_core(op, k);
      case Module::norm:
        return add_norm(op, k);
      case Module::rotary:
        return add_rotary(op, k);
      case Module::residual:
        return add_residual(op, k);
      case Module::cast:
        return add_cast(op, k);
      case Module::activation:
      case Module::expert_activation:
        return add_activation(op, k);
      case Module::router:
        return add_router(op, k);
      case Module::sort:
        return add_sort(op, k);
      case Module::permute:  // DeepEP's kernels send a token wherever it goes, and add up what comes back
      case Module::unpermute:
        return;
      default:
        k.op(op);
    }
  }
  const SoftwareHabits& habits() const override { return habits_; }

 private:
  static bool is_forward(const Op& op) { return op.pass == OpPass::forward; }

  /// Weights lie as the forward pass of dense layers, and the backward pass of experts, read them. What input
  /// gradients leave for weight gradients is cast beside them; of experts what they computed themselves,
  /// which is the narrower side: the rows that were exchanged wait for the pass of weights.
  static void add_product(const Op& op, Kernels& k) {
    const bool is_grouped = op.kind == OpKind::grouped_gemm;
    if (op.precision != Precision::fp8) {
      k.op(op);
      return;
    }
    if (op.pass == OpPass::backward_weight) {
      Op product = op;
      product.access = weight_product;
      k.op(std::move(product));
      return;
    }
    const double weights = real(op.n) * real(op.k);
    if (is_grouped == is_forward(op)) {
      const double matrices = is_grouped ? real(std::ssize(op.rows)) : 1;
      k.add(transpose, weights * matrices, 2);
    }
    k.op(op);
    if (is_forward(op)) return;
    const std::int64_t width = is_grouped ? std::min(op.n, op.k) : op.n + op.k;
    k.add(cast_columns, real(rows_of(op)) * real(width), cast_bytes);
  }

  static std::int64_t rows_of(const Op& op) {
    if (op.kind != OpKind::grouped_gemm) return op.m;
    std::int64_t rows = 0;
    for (const std::int64_t each : op.rows) rows += each;
    return rows;
  }

  /// What attention gives is kept in E5M6, 12 bits (DeepSeek-V3, arXiv 2412.19437, section 3.3.3).
  static void add_core(const Op& op, Kernels& k) {
    const double outputs = real(op.batch) * real(op.heads) * real(op.sequence) * real(op.value_head_dim);
    if (is_forward(op)) {
      k.op(op);
      k.add(cast_special, outputs, special_bytes);
    } else {
      k.add(cast_special_back, outputs, special_bytes);
      k.op(op);
    }
  }

  /// The residual stream is added to in the norm that follows.
  static void add_norm(const Op& op, Kernels& k) {
    is_forward(op) ? k.all(norm, 4) : k.all(norm_backward, 6).tiny(2);
  }

  static void add_residual(const Op& op, Kernels& k) {
    if (op.part == LayerPart::attention)
      k.all(vectorised, 4);
    else if (!is_forward(op))
      k.all(vectorised, 6);
  }

  /// Keys of all heads are put together out of theirs and the one that turns, values laid one by one, queries
  /// turned where they are; backward takes keys apart and adds up what all heads had of the one.
  static void add_rotary(const Op& op, Kernels& k) {
    k.tiny(1).all(copy, 10.0 / 3).all(copy, 10.0 / 3).all(rotary, 10.0 / 3);
    if (!is_forward(op)) k.all(sums, 2.0 / 3);
  }

  /// What an activation gives is cast in its kernel. Of experts it is the activation's input that is cast, to
  /// be kept, and in the pass of weights the rows that were exchanged.
  static void add_cast(const Op& op, Kernels& k) {
    const bool is_of_experts = !op.rows.empty();
    if (op.pass == OpPass::backward_weight) {
      if (is_of_experts && is_exchanged(op)) k.all(cast_columns, cast_bytes);
      return;
    }
    if (is_of_experts && is_forward(op)) {
      if (op.again) return;
      k.add(cast_of_rows, 2 * k.elements(), cast_bytes);
      return;
    }
    k.all(cast_rows, cast_bytes).tiny(1, KernelClass::streaming, scales_ns);
  }

  /// Of experts the rows that came are as wide as the model, and what they compute is narrower.
  static bool is_exchanged(const Op& op) { return op.n > op.k; }

  /// The backward kernel of experts computes it again.
  static void add_activation(const Op& op, Kernels& k) {
    if (op.again && op.module == Module::expert_activation) return;
    if (is_forward(op)) {
      k.all(activation, 4 + 1 + scale_bytes);
      return;
    }
    k.add(cast_back, 2 * k.elements(), cast_bytes);
    op.module == Module::expert_activation
        ? k.all(activation_backward, 12).all(activation_backward, 4)  // the second: of routing's weights
        : k.all(activation_backward, 10);
  }

  /// Scores, groups, choices, counts and the loss that balances them, in kernels of PyTorch.
  static void add_router(const Op& op, Kernels& k) {
    if (is_forward(op))
      k.all(topk, 4).all(topk, 4).tiny(36);
    else
      k.tiny(25);
  }

  static void add_sort(const Op& op, Kernels& k) {
    const bool goes_out = op.part == LayerPart::dispatch;
    if (goes_out != is_forward(op)) {
      k.add(reduce, k.elements(), 4, gathers);
      return;
    }
    if (is_forward(op)) k.add(count_rows, real(op.m), 8, gathers).add(map_rows, real(op.m), 8, gathers);
    k.add(expand, k.elements(), real(op.bytes.count) / k.elements() + 2 * scale_bytes, gathers)
        .tiny(1, gathers, 15'000);  // scales
  }

  SoftwareHabits habits_;
};

std::unique_ptr<const Software> make(Reader&) { return std::make_unique<DeepSeek>(); }

}  // namespace

extern constexpr Entry<Software> deepseek_software{
    "deepseek", "DeepSeek's own for V3: the kernels of its published training trace, DeepEP between them",
    make};

}  // namespace moesim
