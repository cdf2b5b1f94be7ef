// What runs on a device for the ops of a layer: the software between the mathematics and the hardware.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "models/base/scaling.hpp"
#include "models/cluster/device.hpp"
#include "models/config/family.hpp"
#include "models/transformer/op.hpp"
#include "models/transformer/token_exchange.hpp"

namespace moesim {

/// How often the software goes over gradients and parameters in an update.
enum class UpdatePasses : std::uint8_t {
  one,       ///< Adam alone, with gradients as they are
  separate,  ///< a kernel for each step, as Megatron-LM's distributed optimizer
};
inline constexpr std::string_view update_pass_names[] = {"one", "separate"};

/// What a backward pass does while tensor parallelism communicates.
enum class TensorBackward : std::uint8_t {
  overlapped,  ///< input gradients while inputs are gathered again, weight gradients while input gradients
               ///< are summed (Korthikanti et al., arXiv 2205.05198, section 4.2.2)
  in_turn,     ///< nothing
};
inline constexpr std::string_view tensor_backward_names[] = {"overlapped", "in_turn"};

/// What the host takes to issue launches, one after the other. Zeros: it holds nothing up.
struct HostTimes {
  Time forward{}, backward{}, update{};  ///< for a launch of each pass
  Time block{};                          ///< for the kernels of a block together, beside those
  Time call{};                           ///< for a communication inside a layer
  Time part{};                           ///< for a further part of a product, with what is sent for it
  Time unit{};                           ///< for a unit of FSDP2 in a pass, beside its launches
  Time weight{};          ///< for a weight whose gradient is a pass of its own, beside its launches
  Time node{};            ///< for a part of a layer that an overlapped pair weaves, beside its launches
  Time start{};           ///< before the first launch of a step
  Time wait{};            ///< after the device has ended what the host waits for
  bool captures = false;  ///< CUDA graphs of blocks or of the iteration
  /// For a launch of a kernel.
  Time of(const Op& kernel) const {
    return kernel.module == Module::update ? update : kernel.pass == OpPass::forward ? forward : backward;
  }
  bool is_none() const {
    return forward.count + backward.count + update.count + block.count + call.count + part.count +
               unit.count + weight.count + node.count + start.count + wait.count ==
           0;
  }
};

/// How software exchanges tokens.
struct ExchangeHabits {
  std::optional<TokenExchange> way{};  ///< nothing: either
  std::string_view library{};          ///< as `collectives` calls it; empty: any
  std::int64_t multiprocessors = 0;    ///< that its kernels get; 0: as many as is usual
  double slowed_by_compute = 1;        ///< how much longer they take while the device computes
};

/// Habits of a software beside the kernels of its ops.
struct SoftwareHabits {
  Fusion fusion;
  bool fused_loss = true;  ///< cross entropy without a copy of the logits in fp32
  UpdatePasses update_passes = UpdatePasses::one;
  Precision parameters = Precision::bf16;  ///< fp32: they are cast for each use, and need no master weights
  bool casts_in_update = true;  ///< a fused update reads gradients and writes parameters in any format
  bool adds_gradients = false;  ///< of later microbatches, by kernels of their own; else inside products
  bool placeholder_gradients = false;  ///< a bf16 tensor for each shape of weights, never read
  TensorBackward tensor_backward = TensorBackward::overlapped;
  /// Products run in parts while a tensor-parallel group gathers their inputs or adds up their results
  /// (Transformer Engine's user buffers, pytorch/module/base.py: initialize_ub).
  bool splits_tensor_products = false;
  /// Of an overlapped pair: nothing of its backward but the next weights waits for gradients of weights.
  bool delays_weights = true;
  bool waits_in_dispatch = false;  ///< the host reads what comes when it has come to a dispatch
  bool recomputes_parts = true;    ///< else whole layers or nothing
  bool groups_experts = true;      ///< else its experts are modules, one by one
  bool has_dropout = true;         ///< else its models have none
  bool has_experts = true;         ///< else its models are dense
  bool is_of_gpus = false;         ///< of NVIDIA, whose ranks talk through NCCL
  bool is_of_tpus = false;         ///< of Google, whose programs XLA compiles
  ExchangeHabits exchanges{};
  bool graph_waits = false;         ///< a graph of the iteration holds a dispatch that the host waits for
  bool has_fp8 = true;              ///< else its products in fp8 and fp4 are not known
  bool has_narrow_weights = false;  ///< what it does with weights in fp8 and fp4 is known
  Fp8Recipe recipe = Fp8Recipe::blockwise;  ///< of operands in fp8
  Generation since{};  ///< of GPUs that have what it needs, because of the key after this, by its path
  std::string_view since_key{};
  std::span<const std::string_view> schedules{};  ///< of pipelines that it has; empty: all
  Bytes workspaces{};                             ///< of libraries, which an allocator counts
  HostTimes host{};
};

/// A software. A family.
class Software : public Keeping {
 public:
  /// Appends the kernels that run for an op, one after the other: ops themselves, with the launches, the
  /// bytes and the access to memory that the software has. Their FLOPs are those of the op.
  virtual void add_kernels(const Op& op, std::vector<Op>& kernels) const = 0;
  virtual const SoftwareHabits& habits() const = 0;
};

/// The members of the family.
Register<Software> softwares();

}  // namespace moesim
