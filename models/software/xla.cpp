// Programs that XLA compiles for TPUs, as Mesh TensorFlow (tensorflow/mesh, on which T5 and Switch
// Transformers ran) and lingvo (tensorflow/lingvo, core/gshard_layers.py: GShard) write them. One program is
// a step: no host launches anything. What decides its kernels:
//
// - Tokens come to experts and home by products with masks of ones and zeros (models/software/one_hot.hpp),
//   and so do rows of an embedding (mesh_tensorflow/ops.py: gather).
// - A fusion ends at a reduction: what uses a sum or a maximum reads its input once more (openxla/xla,
//   service/instruction_fusion.h). Nothing that is computed again is a kernel of its own.
// - Attention is an einsum, a softmax in fp32 and an einsum; scores are written (mesh_tensorflow/transformer/
//   attention.py: float32_logits).
// - The arrays multiply 128 x 128 weights at a time: what is not as deep is filled up with zeros (Jouppi
//   and others, "A Domain Specific Supercomputer for Training Deep Neural Networks", CACM 2020). Layouts are
//   taken to need no other padding.
// - Variables are fp32. Their casts do not depend on the microbatch, and XLA moves them out of its loop
//   (service/while_loop_invariant_code_motion.h): products read bf16.
#include <memory>

#include "models/base/real.hpp"
#include "models/config/fields.hpp"
#include "models/software/one_hot.hpp"
#include "models/software/pytorch.hpp"
#include "models/software/separate.hpp"
#include "models/software/software.hpp"

namespace moesim {
namespace {

using pytorch::Kernels;

constexpr double fp32 = 4;

/// Softmax over a dimension in fp32 is a maximum, a sum of exponentials, and what uses both.
constexpr double softmax_reductions = 2;

/// What its keys say.
struct Program {
  one_hot::Form form;
  bool writes_scores = true;
};

class Xla final : public Software {
 public:
  explicit Xla(const Program& program)
      : form_(program.form),
        habits_{.fusion = {.attention = !program.writes_scores},
                .parameters = Precision::fp32,
                .tensor_backward = TensorBackward::in_turn,
                .has_dropout = false,
                .is_of_tpus = true,
                .has_fp8 = false} {}

  void add_kernels(const Op& op, std::vector<Op>& kernels) const override {
    Kernels k(op, kernels);
    switch (op.module) {
      case Module::projection:
      case Module::experts:
        k.op(one_hot::filled(product_of(op)));
        return;
      case Module::core:
        if (!habits_.fusion.attention) return add_core(op, k);
        k.op(op);
        return;
      case Module::norm:
        return add_norm(op, k);
      case Module::rotary:  // positions are biases of scores, which these read on their way
        return;
      case Module::router:
        return one_hot::add_gates(op, form_, kernels);
      case Module::permute:
        return one_hot::add_dispatch(op, form_, kernels);
      case Module::unpermute:
        return one_hot::add_combine(op, form_, kernels);
      case Module::embedding:
        return one_hot::add_embedding(op, form_, kernels);
      case Module::sort:  // chunks that came from all cores, to the order of experts
        k.all({}, 2 * activation());
        return;
      case Module::update:
      case Module::gradient_sums:
        k.op(op);
        return;
      default:
        k.op(scaled(op));
    }
  }
  const SoftwareHabits& habits() const override { return habits_; }

  /// Masks; of experts their results, which gradients of masks are products with; and of attention its scores
  /// in fp32 beside weights.
  double kept_by(const Op& op) const override {
    if (op.module == Module::unpermute) return real(op.m) * real(op.n) * activation();
    if (op.module == Module::permute) return op.kept + one_hot::kept(op, form_);
    const bool has_scores = op.kind == OpKind::attention && !habits_.fusion.attention;
    const double weights = has_scores ? op.kept : 0;
    return (op.kept * activation() + weights * fp32) / 2;
  }

 private:
  double activation() const { return real(size_of(form_.activations).count); }

  /// Ops that only stream are counted in bf16.
  Op scaled(Op op) const {
    if (form_.activations == Precision::fp32) op.bytes = op.bytes * 2;
    return op;
  }

  /// Gates are fp32 (mesh_tensorflow/transformer/moe.py: "bfloat16 seems to reduce quality").
  Op product_of(const Op& op) const {
    if (op.part != LayerPart::router) return op;
    Op gates = make_gemm(op.name, op.pass, op.m, op.n, op.k, Precision::fp32);
    gates.part = op.part;
    return gates;
  }

  void add_norm(const Op& op, Kernels& k) const {
    if (op.pass == OpPass::forward) {  // the sum of squares; what it scales
      k.all({}, 3 * activation());
      return;
    }
    k.all({}, 2 * activation()).all({}, 3 * activation());  // sums of rows and of weights; the gradient
  }

  void add_core(const Op& op, Kernels& k) const {
    const std::int64_t queries = op.sequence, keys = op.kv_sequence > 0 ? op.kv_sequence : queries;
    const std::int64_t head = op.head_dim, value = op.value_head_dim > 0 ? op.value_head_dim : head;
    const double scores = real(op.batch) * real(op.heads) * real(queries) * real(keys);
    const double whole = 2 * (op.pass == OpPass::forward ? 1 : 2) * scores * real(head + value);
    const double a = activation();
    const auto product = [&](std::int64_t rows, std::int64_t width, std::int64_t depth, Precision precision) {
      Op one = product_of_heads(op, rows, width, depth, precision);
      one.kernel_class = op.kernel_class;
      one.flops = {one.flops.count * (op.flops.count / whole)};  // those of the mathematics
      k.op(one_hot::filled(std::move(one)));
    };
    const auto over_scores = [&](double bytes) { k.add({}, scores, bytes, op.kernel_class); };
    if (op.pass == OpPass::forward) {
      product(queries, keys, head, Precision::fp32);
      over_scores(softmax_reductions * fp32);
      over_scores(fp32 + a);
      product(queries, value, keys, form_.activations);
      return;
    }
    product(keys, value, queries, form_.activations);
    product(queries, keys, value, form_.activations);
    over_scores(a + fp32);         // sums of rows: gradients of weights times weights, out of scores
    over_scores(a + fp32 + fp32);  // gradients of scores
    product(queries, head, keys, Precision::fp32);
    product(keys, head, queries, Precision::fp32);
  }

  one_hot::Form form_;
  SoftwareHabits habits_;
};

constexpr std::string_view sum_names[] = {"product", "scan"};
constexpr std::string_view activation_names[] = {"fp32", "bf16"};
constexpr std::string_view attention_names[] = {"of_device", "written"};

std::unique_ptr<const Software> make(Reader& reader) {
  using Form = one_hot::Form;
  constexpr auto form = &Program::form;
  Program program;
  read_fields(
      reader, program,
      choice(form, &Form::sums, sum_names,
             {.name = "cumulative_sums",
              .help = "places in buffers of experts are sums over the tokens before: a product with a "
                      "triangle of ones (Mesh TensorFlow), or a scan over the tokens (GShard)",
              .fallback = "product"}),
      choice(form, &Form::activations, activation_names,
             {.name = "activations", .help = "format of activations", .fallback = "bf16"}),
      choice(&Program::writes_scores, attention_names,
             {.name = "attention",
              .help = "scores are written in fp32 (Mesh TensorFlow), or all as fast as the device's file "
                      "says, which for TPU v3 is what GShard's reached",
              .fallback = "written"}));
  return std::make_unique<Xla>(program);
}

}  // namespace

extern constexpr Entry<Software> xla_software{
    "xla", "programs of XLA on TPUs, as Mesh TensorFlow and GShard: experts by products with masks of ones",
    make};

}  // namespace moesim
