// Kernels of Megatron-Core with Transformer Engine, part by part of a layer. Launches and waits are counted
// in the public source: NVIDIA/Megatron-LM (core_v0.9.0 to core_v0.19.0) and NVIDIA/TransformerEngine
// (v2.11), each with its file and function.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "models/base/scaling.hpp"
#include "models/software/pytorch.hpp"

namespace moesim::megatron {

/// Releases of Megatron-Core, oldest first.
enum class Version : std::uint8_t {
  v0_9,
  v0_10,
  v0_11,
  v0_12,
  v0_13,
  v0_14,
  v0_15,
  v0_16,
  v0_17,
  v0_18,
  v0_19
};
inline constexpr std::string_view version_names[] = {"v0.9",  "v0.10", "v0.11", "v0.12", "v0.13", "v0.14",
                                                     "v0.15", "v0.16", "v0.17", "v0.18", "v0.19"};

/// `--transformer-impl`: who has linear layers and norms.
enum class TransformerCode : std::uint8_t { transformer_engine, local };
inline constexpr std::string_view transformer_names[] = {"transformer_engine", "local"};

/// `--attention-backend`.
enum class AttentionCode : std::uint8_t {
  fused,    ///< cuDNN's kernels
  unfused,  ///< products and a softmax over whole squares of scores
};
inline constexpr std::string_view attention_names[] = {"fused", "unfused"};

/// Who sends tokens to experts: `--moe-token-dispatcher-type`, and of flex `--moe-flex-dispatcher-backend`.
enum class Dispatcher : std::uint8_t { alltoall, allgather, flex };
inline constexpr std::string_view dispatcher_names[] = {"alltoall", "allgather", "flex"};
enum class FlexCode : std::uint8_t { deepep, hybridep };
inline constexpr std::string_view flex_names[] = {"deepep", "hybridep"};

/// `--cuda-graph-scope`.
struct GraphScope {
  bool attention = false, router = false, preprocess = false, iteration = false;
  bool of_layers() const { return attention || router || preprocess; }
};

struct Choices {
  Version version = Version::v0_19;
  TransformerCode transformer = TransformerCode::transformer_engine;
  AttentionCode attention = AttentionCode::fused;
  Dispatcher dispatcher = Dispatcher::alltoall;
  FlexCode flex = FlexCode::deepep;
  Fp8Recipe recipe = Fp8Recipe::delayed;
  bool groups_gemm = true;
  bool fuses_permute = true;
  bool fuses_router = false;
  bool fuses_rope = true;
  bool fuses_loss = false;
  bool fuses_accumulation = true;
  bool has_precise_optimizer = false;  ///< which takes gradients as they are
  bool pads_to_capacity = false;
  bool is_experimental = false;
  bool delays_weights = true;
  bool splits_products = false;
  double aux_loss = 0;
  std::int64_t connections = 1;
  GraphScope graphs;

  /// Routing weights are multiplied where tokens come home; since 0.13 in the activation of experts.
  bool weighs_at_home() const { return version < Version::v0_13; }
  bool gathers_tokens() const { return dispatcher == Dispatcher::allgather; }
  bool is_flex() const { return dispatcher == Dispatcher::flex; }
  /// Rows come in the order of their experts, and nobody counts them on the host.
  bool permutes_there() const { return is_flex() && flex == FlexCode::hybridep; }
  /// Whether the host reads how many rows come.
  bool reads_counts() const { return !pads_to_capacity && !graphs.iteration; }
};

/// An op as it is, in so many launches.
Op in_launches(Op op, std::int64_t count);

/// For each weight autograd calls a hook in Python, whether a gradient is left to add or not
/// (core/distributed/distributed_data_parallel.py: _make_backward_post_hook; param_and_grad_buffer.py:
/// register_grad_ready): as a launch that has none.
inline constexpr std::int64_t calls_of_hook = 1;

/// What the host takes for a launch, as the router's: 27 of plain PyTorch in 895 us forward, 12 in 343 us
/// backward (configs/validation/megatron-host-h200.json, "routing", as all that is `beside` them).
inline constexpr Time forward_launch{33'000'000}, backward_launch{29'000'000};

/// Of a part of a layer what its Python takes beside its launches, in so many launches: modules of
/// Transformer Engine, autograd functions, fused functions behind the guards of torch.compile.
struct Beside {
  std::int64_t forward = 0, backward = 0;
};
namespace beside {
/// A norm that is a module of its own; those of queries and keys, with the cuts before them.
inline constexpr Beside norm{7, 7}, head_norms{15, 6};
/// A linear layer. Backward all is beside the product of the input's gradient.
inline constexpr Beside product{5, 3};
inline constexpr Beside rotary{4, 0}, attention{24, 1}, residual{11, 1}, gating{5, 3};
inline constexpr Beside fused_router{3, 2}, fused_loss{4, 5};
inline constexpr Beside permute{10, 6}, counts{7, 0}, sort{8, 5}, unpermute{6, 7}, activation{9, 3};
}  // namespace beside

/// In a loop in C++: a product takes 15.6 us ("product in a loop in C++", two processes), any other launch
/// 9.4 us (configs/validation/software-h200.json, "issue, nothing recorded": add); a tensor in fp8 three
/// allocations of 3.6 us ("empty"). For each expert Python takes some 15 us of a
/// product's forward: (954 or 906 us of "first" and "second products" - 420 of the stand-in - six launches) /
/// 16 is 21 and 18, single pairs of cases give 3 to 22.
inline constexpr Time product_in_loop{15'600'000}, launch_in_loop{9'400'000}, fp8_tensor{10'800'000},
    python_of_expert{15'000'000};

/// So much of the host behind a launch in Python, in launches.
std::int64_t calls_of_loop(Time time, bool is_forward);

/// Kernels of what is neither routing nor expert.
void add_norm(const Op& op, const Choices& choices, pytorch::Kernels& kernels);
void add_product(const Op& op, const Choices& choices, pytorch::Kernels& kernels);
/// What a product in narrow formats takes for its scales, or so many products of experts.
void add_scales(const Op& op, const Choices& choices, std::int64_t products, pytorch::Kernels& kernels);
void add_rotary(const Op& op, const Choices& choices, pytorch::Kernels& kernels);
void add_core(const Op& op, const Choices& choices, std::vector<Op>& kernels);
void add_residual(const Op& op, pytorch::Kernels& kernels);
void add_embedding(const Op& op, pytorch::Kernels& kernels);
void add_loss(const Op& op, pytorch::Kernels& kernels);
void add_cast(const Op& op, const Choices& choices, pytorch::Kernels& kernels);
void add_update(const Op& op, std::vector<Op>& kernels);

/// Kernels of routing and experts.
void add_router(const Op& op, const Choices& choices, pytorch::Kernels& kernels);
void add_permute(const Op& op, const Choices& choices, std::vector<Op>& kernels);
void add_sort(const Op& op, const Choices& choices, std::vector<Op>& kernels);
void add_unpermute(const Op& op, const Choices& choices, pytorch::Kernels& kernels);
void add_experts(const Op& op, const Choices& choices, pytorch::Kernels& kernels);
void add_expert_activation(const Op& op, const Choices& choices, pytorch::Kernels& kernels);
void add_shared_gate(const Op& op, pytorch::Kernels& kernels);

/// Of an op that CUDA graphs hold: its kernels, of which those from `first` on are new, are launched with the
/// graph of the layer; not what the host waits for, and what comes after that.
void capture(const Op& op, const Choices& choices, std::size_t first, std::vector<Op>& kernels);

}  // namespace moesim::megatron
