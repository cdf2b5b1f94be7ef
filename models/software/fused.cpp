#include "models/software/fused.hpp"

#include <memory>

#include "models/config/fields.hpp"
#include "models/software/separate.hpp"

namespace moesim {
namespace {

/// Kernels of which there may be one or several.
struct KernelChoices {
  double streaming_passes = 1;
  bool has_grouped_kernel = true;
  bool has_fused_norm = true;
};

class Fused final : public Software {
 public:
  Fused(const KernelChoices& choices, const SoftwareHabits& habits) : choices_(choices), habits_(habits) {}

  void add_kernels(const Op& op, std::vector<Op>& kernels) const override {
    switch (op.kind) {
      case OpKind::gemm:
      case OpKind::copy:
        return kernels.push_back(op);
      case OpKind::grouped_gemm:
        return choices_.has_grouped_kernel ? kernels.push_back(op)
                                           : append(op, separate_products(op), kernels);
      case OpKind::attention:
        return habits_.fusion.attention ? kernels.push_back(op) : append(op, separate_attention(op), kernels);
      case OpKind::rms_norm:
        if (!choices_.has_fused_norm && op.pass != OpPass::forward)
          return stream(norm_with_weights_apart(op), kernels);
        break;
      case OpKind::unpermute:
        if (!habits_.fusion.permutation) return kernels.push_back(scattered(op));
        break;
      case OpKind::permute:
        if (!habits_.fusion.permutation) return stream(gathered(op), kernels);
        break;
      default:
        break;
    }
    stream(op, kernels);
  }

  const SoftwareHabits& habits() const override { return habits_; }

 private:
  static void append(const Op& op, std::vector<Op> more, std::vector<Op>& kernels) {
    for (Op& kernel : more) {
      kernel.part = op.part;
      kernel.kernel_class = op.kernel_class;
      kernels.push_back(std::move(kernel));
    }
  }
  void stream(Op op, std::vector<Op>& kernels) const {
    op.passes = choices_.streaming_passes;
    kernels.push_back(std::move(op));
  }

  KernelChoices choices_;
  SoftwareHabits habits_;
};

constexpr std::string_view attention_names[] = {"fused", "separate"};
constexpr std::string_view grouped_names[] = {"one_kernel", "kernel_each"};
constexpr std::string_view norm_names[] = {"one_kernel", "separate"};
constexpr std::string_view permutation_names[] = {"fused", "separate"};

KernelChoices read_choices(Reader& reader) {
  KernelChoices choices;
  choices.streaming_passes = reader.number(
      {.name = "streaming_passes",
       .help = "how often the software moves the bytes of norms, activations, casts and permutations "
               "over what fused kernels would (docs/devices.md)",
       .fallback = 1.0,
       .at_least = 1.0,
       .at_most = 10.0});
  choices.has_grouped_kernel =
      reader.choice({.name = "grouped_gemm",
                     .help = "one kernel for the products of all local experts, or a kernel for each",
                     .fallback = "one_kernel"},
                    grouped_names) == 0;
  choices.has_fused_norm =
      reader.choice({.name = "norm_backward",
                     .help = "one kernel, or one for the gradient of the input and one for that of weights",
                     .fallback = "one_kernel"},
                    norm_names) == 0;
  return choices;
}

Fusion read_fusion(Reader& reader) {
  return {.attention = reader.choice({.name = "attention",
                                      .help = "one kernel, or separate ones that write the scores to memory "
                                              "and keep them for backward",
                                      .fallback = "fused"},
                                     attention_names) == 0,
          .permutation =
              reader.choice({.name = "permutation",
                             .help = "rows are spread and summed by fused kernels, or gathered one by one, "
                                     "scaled and scattered; what is scaled is kept for backward",
                             .fallback = "fused"},
                            permutation_names) == 0};
}

}  // namespace

std::unique_ptr<const Software> make_fused() {
  return std::make_unique<Fused>(KernelChoices{}, SoftwareHabits{.fusion = {}});
}

std::unique_ptr<const Software> read_fused(Reader& reader) {
  using Habits = SoftwareHabits;
  const KernelChoices choices = read_choices(reader);
  Habits habits{.fusion = read_fusion(reader)};
  read_fields(
      reader, habits,
      field(&Habits::fused_loss, {.name = "fused_loss",
                                  .help = "cross entropy without a copy of the logits in fp32",
                                  .fallback = true}),
      choice(&Habits::update_passes, update_pass_names,
             {.name = "update_passes",
              .help = "Adam in one pass, or with separate passes that zero, check, scale, measure and clip "
                      "gradients and copy parameters",
              .fallback = "one"}),
      field(
          &Habits::placeholder_gradients,
          {.name = "placeholder_gradients",
           .help = "a bf16 tensor for each shape of weights, never read, where their gradients are added to "
                   "the sum inside the product",
           .fallback = false}),
      choice(&Habits::tensor_backward, tensor_backward_names,
             {.name = "tensor_backward",
              .help = "what a backward pass does while tensor parallelism communicates: overlapped, input "
                      "gradients while inputs are gathered again, and weight gradients while input gradients "
                      "are summed (Megatron-LM; in passes that compute both gradients, alone on the device), "
                      "or in_turn, nothing",
              .fallback = "overlapped"}));
  return std::make_unique<Fused>(choices, habits);
}

}  // namespace moesim
