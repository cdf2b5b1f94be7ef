// Models of Hugging Face transformers run eagerly in PyTorch: a kernel for each line of the model's code, and
// autograd's for its backward. Kernels and their order as the code of transformers 5.17 has them and profiles
// of it show them (configs/validation/software-h200.json).
#include "models/software/hugging_face.hpp"

#include <memory>

#include "models/config/fields.hpp"
#include "models/software/host.hpp"
#include "models/software/software.hpp"

namespace moesim {
namespace {

using namespace hugging_face;
using namespace literals;
using pytorch::Kernels;

class HuggingFace final : public Software {
 public:
  HuggingFace(const Choices& choices, const HostTimes& host)
      : choices_(choices),
        habits_{.fusion = {},
                .parameters = choices.autocast ? Precision::fp32 : Precision::bf16,
                .casts_in_update = false,
                .adds_gradients = true,
                .tensor_backward = TensorBackward::in_turn,
                .recomputes_parts = false,
                .has_dropout = false,
                .is_of_gpus = true,
                .has_fp8 = false,
                .workspaces = pytorch::workspaces,
                .host = host} {}

  void add_kernels(const Op& op, std::vector<Op>& kernels) const override {
    Kernels k(op, kernels);
    switch (op.module) {
      case Module::projection:
        return add_products(op, choices_, k);
      case Module::core:
        return add_core(op, choices_, k);
      case Module::update:
        return pytorch::update(op, kernels);
      case Module::norm:
        return add_norm(op, choices_, k);
      case Module::rotary:
        return add_rotary(op, choices_, k);
      case Module::activation:
        return add_activation(op, k);
      case Module::residual:
        return add_residual(op, choices_, k);
      case Module::loss:
        return add_loss(op, k);
      case Module::embedding:
        return add_embedding(op, choices_, k);
      case Module::gradient_sums:
      case Module::bucket_in:
      case Module::bucket_out:
      case Module::shards_in:
      case Module::gathered_out:
      case Module::gradients_in:
      case Module::gradients_out:
        return pytorch::add_copies(op, kernels);
      default:
        add_moe(op, k);
    }
  }

  /// Of a norm its input in fp32, what comes before the weight, and its output where that is kept; of SwiGLU
  /// also the activated half; of experts the rows before their weights; of the loss the log-probabilities.
  double kept_by(const Op& op) const override {
    const double elements = static_cast<double>(op.m) * static_cast<double>(op.n);
    switch (op.module) {
      case Module::norm:
        return op.kept + kept_by_norm(op, elements);
      case Module::core:
        return kept_by_core(op, choices_);
      case Module::projection:
        return op.kept + kept_by_product(op);
      case Module::rotary:  // of latent attention: the product that values are a part of
        return op.kept + 2 * static_cast<double>(op.m * op.heads) *
                             static_cast<double>(op.k > 0 ? op.head_dim - op.k : 0);
      case Module::activation:
        return op.kept + kept_by_gates(op, elements);
      case Module::expert_activation:
        return (choices_.autocast ? 2 : 1) * (op.kept + kept_by_gates(op, elements));
      case Module::experts:
        return op.kept + kept_by_experts(op, choices_);
      case Module::unpermute:
        return op.kept + kept_by_sums(elements);
      case Module::loss:
        return 4 * elements;
      default:
        return op.kept;
    }
  }

  bool holds_as_computed() const override { return true; }
  /// DTensor gathers an input for its product, which saves it (torch/distributed/tensor/parallel/style.py).
  bool keeps_gathered() const override { return true; }

  /// Of a loss logits and their copy in fp32 forward; backward the gradients of the log-probabilities and of
  /// the copy. Of an activation the gradients of what it returns and of its inputs, of a norm three steps of
  /// its backward in fp32.
  double working_bytes(const Op& op) const override {
    const double elements = static_cast<double>(op.m) * static_cast<double>(op.n);
    const bool is_forward = op.pass == OpPass::forward;
    switch (op.module) {
      case Module::core:
        return working_bytes_of_core(op, choices_);
      case Module::experts:
        return working_bytes_of_experts(op, choices_);
      case Module::loss:
        return (is_forward ? 6 : 8) * elements;
      case Module::activation:
      case Module::expert_activation:
        return is_forward ? 0 : (op.kind == OpKind::swiglu ? 6 : 4) * elements;
      case Module::norm:
        return is_forward ? 0 : 12 * elements;
      default:
        return 0;
    }
  }

  const SoftwareHabits& habits() const override { return habits_; }

 private:
  void add_moe(const Op& op, Kernels& k) const {
    const bool is_loop = choices_.experts == ExpertsCode::eager;
    switch (op.module) {
      case Module::router:
        return add_router(op, k);
      case Module::shared_gate:
        return add_shared_gate(op, k);
      case Module::experts:
        return is_loop ? add_loop(op, choices_, k) : add_experts(op, choices_, k);
      case Module::permute:
        return is_loop ? void() : add_permute(op, choices_, k);
      case Module::unpermute:
        return is_loop ? void() : add_unpermute(op, choices_, k);
      case Module::expert_activation:
        return is_loop ? void() : add_expert_activation(op, choices_, k);
      default:  // rows between ranks: as fused kernels
        k.op(op);
    }
  }

  /// Under autocast its input is in fp32 already, and what reads its output keeps a copy in bf16.
  double kept_by_norm(const Op& op, double elements) const {
    return (choices_.autocast && op.norm_of != NormOf::heads ? 6 : 4) * elements +
           4 * static_cast<double>(op.m);
  }

  static double kept_by_gates(const Op& op, double elements) {
    return (op.bias ? 8 : op.kind == OpKind::swiglu ? 2 : 0) * elements;
  }

  /// The rows before their weights; one by one the weighted rows too; under autocast these, and what the
  /// experts read, in fp32.
  double kept_by_sums(double elements) const {
    if (choices_.autocast) return 6 * elements;
    return (choices_.experts == ExpertsCode::eager ? 4 : 2) * elements;
  }

  /// A router in fp32 keeps its input so. Under autocast a product keeps its matrix in bf16, and those that
  /// share a norm's output a copy of it each: one is counted with the norm.
  double kept_by_product(const Op& op) const {
    const double input = static_cast<double>(op.m) * static_cast<double>(op.k);
    if (op.groups > 1) return 4 * input;
    if (!choices_.autocast) return 0;
    double copies = 0;
    for (const std::int64_t width : op.columns) copies += op.of_norm && width > 0 ? 1 : 0;
    const double matrix = static_cast<double>(op.n) * static_cast<double>(op.k);
    return 2 * matrix + 2 * input * (copies > 0 ? copies - 1 : 0);
  }

  Choices choices_;
  SoftwareHabits habits_;
};

/// Medians of 59 steps of nine models on the hosts of H200 (configs/validation/software-h200.json, "host_ms"
/// over launches; of a unit "parallel", forward with FSDP2 over alone), and what reading one number takes
/// there. The same code runs up to twice as fast in one process as in the next.
constexpr HostTimes usual_host{.forward = 45_us,
                               .backward = 30_us,
                               .update = 15_us,
                               .call = 100_us,
                               .unit = 1900_us,
                               .weight = usual_host_weight,
                               .start = 100_us,
                               .wait = 16_us};

Choices read_choices(Reader& reader) {
  Choices choices;
  read_fields(
      reader, choices,
      choice(
          &Choices::attention, attention_names,
          {.name = "attention",
           .help = "torch's fused kernels (sdpa), those of the library flash-attn, or products and a softmax "
                   "over whole squares of scores (eager); models with sinks run the last whatever this is",
           .fallback = "sdpa"}),
      choice(&Choices::experts, experts_names,
             {.name = "experts",
              .help = "one product for all experts (grouped_mm), a loop over those that have tokens (eager: "
                      "the host "
                      "reads five numbers for each, and backward adds whole stacks of gradients up), or a "
                      "matrix copied for each choice (batched_mm)",
              .fallback = "grouped_mm"}),
      choice(&Choices::has_mask, mask_names,
             {.name = "mask",
              .help = "whether sequences are padded, so that sdpa is given a mask and computes whole squares",
              .fallback = "none"}),
      field(&Choices::autocast,
            {.name = "autocast",
             .help = "parameters in fp32, which torch.autocast brings to bf16 for each product; experts' "
                     "products are then one by one in fp32",
             .fallback = false}));
  return choices;
}

std::unique_ptr<const Software> make(Reader& reader) {
  const Choices choices = read_choices(reader);
  const HostTimes host = read_host(reader, usual_host);
  if (choices.experts == ExpertsCode::eager && host.captures)
    reader.fail("cuda_graphs",
                "captures no experts one by one, whose tokens the host counts: expected none, or "
                "experts grouped_mm");
  return std::make_unique<HuggingFace>(choices, host);
}

}  // namespace

extern constexpr Entry<Software> hugging_face_software{
    "hugging_face", "Hugging Face transformers in eager PyTorch: a kernel for each line of the model", make};

}  // namespace moesim
