// Dense GPT models as Megatron-DeepSpeed ran them in 2022 (microsoft/Megatron-DeepSpeed at 54f1cb7, DeepSpeed
// 0.7.3): eager modules between the fused kernels of Megatron-LM 2 and apex, whole layers computed again,
// gradients in 16 bits. Kernels are counted in megatron/model/transformer.py, mpu/cross_entropy.py,
// deepspeed/runtime/pipe/engine.py, and autograd's for their backward.
#include <array>
#include <memory>

#include "models/base/real.hpp"
#include "models/config/fields.hpp"
#include "models/software/pytorch.hpp"
#include "models/software/separate.hpp"
#include "models/software/software.hpp"

namespace moesim {
namespace {

using namespace literals;
using pytorch::Kernels;
namespace kind = pytorch::kind;

/// What its arguments turn off.
struct Fusions {
  bool softmax = true, gelu = true, dropout = true;
};

/// apex, csrc/layer_norm_cuda_kernel.cu: one kernel; backward parts of the gradients of weights, their sums,
/// and the gradient of the input. Before its feed-forward a layer makes two numbers on the device,
/// torch.tensor(0.0, device=...), and copies from the host's pageable memory wait for the device.
void add_norm(const Op& op, Kernels& k) {
  if (op.pass != OpPass::forward) {
    Op apart = norm_with_weights_apart(op);
    apart.kernels = 3;
    k.op(std::move(apart));
    return;
  }
  k.op(op);
  if (op.name == "feed-forward norm") k.tiny(1).read().tiny(1).read();
}

/// Gradients of weights are written in 16 bits; those of biases are sums of columns.
void add_product(const Op& op, Kernels& k) {
  if (op.pass != OpPass::backward_weight) {
    k.op(op);
    return;
  }
  constexpr std::int64_t sums_in_fp32 = 8, written = 2;
  Op product = op;
  product.bytes -= Bytes{sums_in_fp32 - written} * op.m * op.n;
  k.op(std::move(product));
  if (op.bias) k.add(kind::column_sums, real(op.m) * real(op.k), 2);
}

/// One kernel that masks and scales: where attention is causal it reads the lower half and writes zeros above
/// (megatron/fused_kernels/scaled_upper_triang_masked_softmax.h). Else to fp32, scaled, masked, softmax,
/// back.
void add_softmax(const Op& op, bool is_fused, double scores, Kernels& k) {
  const KernelClass attention = op.kernel_class;
  const bool is_forward = op.pass == OpPass::forward;
  if (is_fused) {
    const double seen = op.causal ? 0.5 : 1;
    k.add(kind::vectorised, scores, (is_forward ? 2 : 4) * seen + 2, attention);
    return;
  }
  k.add(kind::widened, scores, 6, attention).add(kind::vectorised, scores, 8, attention);
  k.add(kind::masked_rows, scores, 8, attention);
  is_forward ? k.add(kind::softmax, scores, 8, attention)
             : k.add(kind::softmax_backward, scores, 12, attention);
  k.add(kind::vectorised, scores, 6, attention);
}

/// Batched products over whole squares of scores. What comes out is laid out token by token; backward scales
/// the gradients of queries and keys, and joins those of all three.
void add_core(const Op& op, const Fusions& fusions, Kernels& k) {
  const std::int64_t queries = op.sequence, keys = op.kv_sequence > 0 ? op.kv_sequence : queries;
  const std::int64_t head = op.head_dim, value = op.value_head_dim > 0 ? op.value_head_dim : head;
  const double heads = real(op.batch) * real(op.heads), scores = heads * real(queries) * real(keys);
  const double passes = op.pass == OpPass::forward ? 1 : 2;
  const double whole = 2 * passes * scores * real(head + value);
  const auto product = [&](std::int64_t rows, std::int64_t width, std::int64_t depth) {
    Op one = product_of_heads(op, rows, width, depth);
    one.kernel_class = op.kernel_class;
    one.flops = {one.flops.count * (op.flops.count / whole)};  // those of the mathematics
    k.op(std::move(one));
  };
  const auto drop = [&] {
    if (op.dropout) k.add(kind::vectorised, scores, 5, op.kernel_class);
  };
  if (op.pass == OpPass::forward) {
    product(queries, keys, head);
    add_softmax(op, fusions.softmax, scores, k);
    drop();
    product(queries, value, keys);
    k.add(kind::strided, heads * real(queries) * real(value), 4);
    return;
  }
  product(keys, value, queries);
  product(queries, keys, value);
  drop();
  add_softmax(op, fusions.softmax, scores, k);
  product(queries, head, keys);
  product(keys, head, queries);
  const double of_queries = heads * real(queries) * real(head), of_keys = heads * real(keys) * real(head);
  k.add(kind::vectorised, of_queries, 4).add(kind::vectorised, of_keys, 4);
  k.add(kind::strided, of_queries + of_keys + heads * real(keys) * real(value), 4);
}

void add_activation(const Op& op, bool is_fused, Kernels& k) {
  if (op.kind == OpKind::swiglu) {  // of no GPT: as fused kernels
    k.op(op);
    return;
  }
  const bool is_forward = op.pass == OpPass::forward;
  if (is_fused || !is_forward) {
    k.all(kind::vectorised, is_forward ? 4 : 6);
    return;
  }
  k.all(kind::broadcast, 4).all(kind::vectorised, 4);
}

/// Bias, dropout and the sum with the stream. Backward the mask's product, and the sum of the gradients that
/// come by the stream and by the norm.
void add_residual(const Op& op, bool is_fused, Kernels& k) {
  if (op.pass != OpPass::forward) {
    k.all(kind::vectorised, 5).all(kind::vectorised, 6);
    return;
  }
  if (is_fused) {
    k.all(kind::vectorised, 7);
    return;
  }
  k.all(kind::broadcast, 4).all(kind::vectorised, 5).all(kind::vectorised, 6);
}

/// Logits in fp32: maximum, difference, exponential, sum, quotient, and small kernels around the logit of
/// each label, the mask and the mean; backward the label's difference, the mean's gradient, to 16 bits.
void add_loss(const Op& op, Kernels& k) {
  constexpr KernelClass loss = KernelClass::loss;
  const double n = k.elements();
  if (op.pass == OpPass::forward) {
    k.add(kind::widened, n, 6, loss).add(kind::maximum, n, 4, loss).add(kind::row_factor, n, 8, loss);
    k.tiny(14, loss).add(kind::vectorised, n, 8, loss).add(kind::row_sums, n, 4, loss);
    k.tiny(2, loss).add(kind::row_factor, n, 8, loss).tiny(9, loss);
    return;
  }
  k.tiny(9, loss).add(kind::row_factor, n, 8, loss).add(kind::vectorised, n, 6, loss);
}

/// Words and places by index, their sum, and the order of tokens first; backward a gradient of zeros for each
/// table and rows added to it.
void add_embedding(const Op& op, Kernels& k) {
  constexpr KernelClass gathers = KernelClass::gather_scatter;
  if (op.pass == OpPass::forward) {
    k.add(kind::gather, k.elements(), 4, gathers).add(kind::gather, k.elements(), 4, gathers);
    k.all(kind::vectorised, 6).all(kind::strided, 4).tiny(4);
    return;
  }
  k.all(kind::strided, 4).add(kind::fill, real(op.k) * real(op.n), 2).tiny(1);
  k.add(kind::embedding_gradient, k.elements(), 6, gathers)
      .add(kind::embedding_gradient, k.elements(), 6, gathers);
}

/// Megatron-DeepSpeed, megatron/schedules.py.
constexpr std::array<std::string_view, 2> pipelines{"1f1b", "interleaved"};

class MegatronDeepSpeed final : public Software {
 public:
  MegatronDeepSpeed(const Fusions& fusions, const HostTimes& host)
      : fusions_(fusions),
        habits_{.fusion = {.attention = false},
                .fused_loss = false,
                .update_passes = UpdatePasses::separate,
                .adds_gradients = true,
                .tensor_backward = TensorBackward::in_turn,
                .recomputes_parts = false,
                .has_experts = false,
                .is_of_gpus = true,
                .has_fp8 = false,
                .schedules = pipelines,
                .host = host} {}

  void add_kernels(const Op& op, std::vector<Op>& kernels) const override {
    Kernels k(op, kernels);
    switch (op.module) {
      case Module::norm:
        return add_norm(op, k);
      case Module::projection:
        return add_product(op, k);
      case Module::core:
        return add_core(op, fusions_, k);
      case Module::activation:
        return add_activation(op, fusions_.gelu, k);
      case Module::residual:
        return add_residual(op, fusions_.dropout, k);
      case Module::loss:
        return add_loss(op, k);
      case Module::embedding:
        return add_embedding(op, k);
      case Module::rotary:  // positions are learned, and added to the embedding
        return op.k > 0 ? static_cast<void>(k.op(op)) : void();
      case Module::gradient_sums:
        return pytorch::add_copies(op, kernels);
      default:
        k.op(op);
    }
  }

  const SoftwareHabits& habits() const override { return habits_; }

 private:
  Fusions fusions_;
  SoftwareHabits habits_;
};

/// What the host takes. One rate for a launch and for a call of a collective, of the least mean error over
/// ten measured steps: the first of each four in configs/validation/host-bound.json. The rest is as with
/// Hugging Face's models.
HostTimes read_host_times(Reader& reader) {
  const Time none;
  const auto key = [&](std::string_view name, std::string_view help, Time fallback) {
    return Key<Time>{.name = name, .help = help, .fallback = fallback, .at_least = none};
  };
  HostTimes host;
  read_fields(
      reader, host,
      field(&HostTimes::forward,
            key("host_launch",
                "of the host for a launch, or the call of a collective; a kernel runs when it "
                "has been launched and what is before it has ended",
                41_us)),
      field(&HostTimes::update, key("host_update", "of the host for a launch in the update", 15_us)),
      field(&HostTimes::start, key("host_start", "of the host before the first launch of a step", 100_us)),
      field(&HostTimes::wait, key("host_wait",
                                  "of the host to go on, once the device has ended what it waits "
                                  "for",
                                  16_us)));
  host.backward = host.call = host.forward;
  return host;
}

std::unique_ptr<const Software> make(Reader& reader) {
  Fusions fusions;
  read_fields(reader, fusions,
              field(&Fusions::softmax, {.name = "masked_softmax_fusion",
                                        .help = "scale, mask and softmax in one kernel",
                                        .fallback = true}),
              field(&Fusions::gelu, {.name = "bias_gelu_fusion",
                                     .help = "bias and activation of a feed-forward in one kernel",
                                     .fallback = true}),
              field(&Fusions::dropout, {.name = "bias_dropout_fusion",
                                        .help = "bias, dropout and the residual sum in one kernel",
                                        .fallback = true}));
  return std::make_unique<MegatronDeepSpeed>(fusions, read_host_times(reader));
}

}  // namespace

extern constexpr Entry<Software> megatron_deepspeed_software{
    "megatron_deepspeed", "dense GPTs as Megatron-DeepSpeed ran them in 2022: eager, a wait in each layer",
    make};

}  // namespace moesim
