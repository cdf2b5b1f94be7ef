// The waist: everything chosen, cross-checked and immutable. A value: copies share the members of families.
// What is above knows no JSON, what is below no other part.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "models/base/spread.hpp"
#include "models/cluster/cluster.hpp"
#include "models/cost/cost.hpp"
#include "models/optimizer/optimizer.hpp"
#include "models/routing/expert_placement.hpp"
#include "models/routing/router.hpp"
#include "models/software/software.hpp"
#include "models/transformer/layer_ops.hpp"
#include "models/transformer/model.hpp"
#include "sim/collective/collective.hpp"
#include "sim/engine/engine.hpp"
#include "sim/gradient/gradient_sync.hpp"
#include "sim/scenario/budget.hpp"
#include "sim/scenario/certainty.hpp"
#include "sim/scenario/drift.hpp"
#include "sim/scenario/faults.hpp"
#include "sim/scenario/layout.hpp"
#include "sim/schedule/replay.hpp"
#include "sim/schedule/schedule.hpp"

namespace moesim {

/// The work of one step.
struct Batch {
  std::int64_t sequences = 1;        ///< global batch
  std::int64_t sequence_length = 1;  ///< of an encoder-decoder: of its encoder
  std::int64_t target_length = 0;    ///< of an encoder-decoder: of its decoder; 0: as long
  std::int64_t microbatch = 1;       ///< sequences of one microbatch of one data-parallel rank
  /// Tokens of a sequence in the decoder of an encoder-decoder.
  std::int64_t decoder_length() const { return target_length > 0 ? target_length : sequence_length; }
  std::int64_t tokens() const { return sequences * sequence_length; }
};

/// Number formats of what is computed, sent and kept.
struct PrecisionPlan {
  Precision gemm = Precision::bf16;
  Precision dispatch = Precision::bf16;    ///< forward dispatch, and the backward of combine
  Precision combine = Precision::bf16;     ///< forward combine, and the backward of dispatch
  Precision gradient = Precision::fp32;    ///< of accumulation and synchronisation
  Precision moments = Precision::fp32;     ///< of the optimizer's two moments
  Precision parameters = Precision::bf16;  ///< of weights that are operands of narrow products
  bool weight_copies = false;  ///< of weights in bf16, narrow ones that stay over a step: they are counted
  std::int64_t bf16_at_start = 0, bf16_at_end = 0;  ///< layers of the model whose products stay bf16
};

/// Whether one rank stands for its symmetric peers.
enum class Resolution : std::uint8_t { folded, full };
inline constexpr std::string_view resolution_names[] = {"folded", "full"};

inline constexpr std::string_view context_exchange_names[] = {"all_gather", "ring"};

/// Which rank of an expert group holds which experts of a layer.
enum class Placement : std::uint8_t {
  in_order,  ///< equal blocks, in their order
  balanced,  ///< packed by popularity, hot ones in several copies where there are redundant slots
  by_topic,  ///< the same, and experts of a topic of coactivation on one node
};
inline constexpr std::string_view placement_names[] = {"in_order", "balanced", "by_topic"};

/// What model FLOPs, and so MFU, count of causal attention.
enum class MfuAttention : std::uint8_t {
  causal,  ///< the scores that are needed (Megatron-LM since Core 0.11; arXiv 2505.09343, table 2)
  whole,   ///< the whole square, as if nothing were masked (Megatron-LM until Core 0.11, PaLM, arXiv
           ///< 2204.02311, appendix B)
};
inline constexpr std::string_view mfu_attention_names[] = {"causal", "whole"};

/// What each rank of a tensor-parallel group sends to the next stage where all of them hold the same.
enum class StageSends : std::uint8_t {
  whole,      ///< all of it
  scattered,  ///< its part, and the receiving group gathers the whole (arXiv 2104.04473, section 4.1)
};
inline constexpr std::string_view stage_sends_names[] = {"whole", "scattered"};

/// In which order messages between stages go.
enum class StageMessages : std::uint8_t {
  free,     ///< each as soon as it can
  in_turn,  ///< those of a rank one after the other, as it comes to their sends and receives
};
inline constexpr std::string_view stage_message_names[] = {"free", "in_turn"};

/// When shared experts are computed.
enum class SharedExperts : std::uint8_t {
  in_turn,  ///< with the others, between dispatch and combine
  beside,   ///< while tokens are on their way to the others
};
inline constexpr std::string_view shared_experts_names[] = {"in_turn", "beside"};

/// The algorithm of each kind of communication.
struct Collectives {
  std::shared_ptr<const Collective> dispatch, combine, gradients, parameters, servers, tensor, pipeline,
      context, expert_tensor;
  std::int64_t communication_sms = 0;  ///< multiprocessors that communication kernels hold while they run
  CommunicationKernels kernels = CommunicationKernels::own;  ///< NCCL's where one of the algorithms is
  std::int64_t channels = 16;       ///< of a communicator, each with buffers for its neighbours
  std::int64_t peer_channels = 32;  ///< of single sends, to each peer of the same node
  double slowed_by_compute = 1;     ///< how much longer an exchange takes while its device computes
  TokenExchange token_exchange = TokenExchange::all_to_all;
  SharedExperts shared_experts = SharedExperts::in_turn;
  StageSends stage_sends = StageSends::whole;
  StageMessages stage_messages = StageMessages::free;

  Held held() const { return {communication_sms, kernels}; }
  /// What takes tokens to experts, and what takes them back.
  Operation outward() const {
    return token_exchange == TokenExchange::all_gather ? Operation::all_gather : Operation::all_to_all;
  }
  Operation homeward() const {
    return token_exchange == TokenExchange::all_gather ? Operation::reduce_scatter : Operation::all_to_all;
  }
};

/// One communication by itself: every `group_size` neighbouring devices form a group, and all groups go at
/// once.
struct OneCommunication {
  Operation operation = Operation::all_reduce;
  Bytes bytes;  ///< of the whole buffer; in an all-to-all what a rank has for all others and itself
  std::int64_t group_size = 1;
  std::shared_ptr<const Collective> collective;
};

/// What a scenario is and has chosen, in words for reports. "interleaved (chunks=2)" is a kind with its keys.
struct ScenarioWords {
  std::string title;  ///< `about`, and what the command line changed of it
  std::string schedule, gradient_sync, optimizer, recompute, offload,
      collective;  ///< empty where there is none
};

/// A pipeline without a model: its passes have given durations.
struct FixedPipeline {
  std::int64_t microbatches = 1;
  PassDurations durations;
};

/// A scenario: what was asked, and everything fits everything else. With `fixed` it is a pipeline only: it
/// has a schedule and an engine, but no model, no cluster and no batch. With `communication` it is that
/// alone, on a cluster, without passes.
struct Scenario {
  std::string about;
  ScenarioWords words;
  std::optional<FixedPipeline> fixed;
  std::optional<OneCommunication> communication;
  Model model;
  std::optional<Cluster> cluster;
  double clock = 1;  ///< of its devices' multiprocessors, over the full one (sim/run/simulate.hpp)
  Batch batch;
  Layout layout{Sizes{}, {Axis::tensor, Axis::expert, Axis::data, Axis::pipeline}};
  bool sequence_parallel = true;  ///< as given; divides_tokens() says what it comes to
  ContextExchange context_exchange = ContextExchange::ring;
  std::vector<std::int64_t> layers_per_stage;  ///< of the model's stages, in the order of the forward pass
  std::shared_ptr<const Schedule> schedule;
  Chains chains;  ///< of the schedule, on the layout's pipeline ranks
  Router router;
  Placement placement = Placement::in_order;
  std::int64_t redundant_experts = 0;  ///< slots of an expert group beyond one for each expert of a layer
  /// By layer, where they are not made of this step's loads: a step of a run that has placed experts before.
  std::shared_ptr<const std::vector<ExpertPlacement>> placed{};
  std::optional<DriftRun> drift;  ///< a run of many steps, of which this is the first
  double routing_spread = 0;      ///< of the rows that a rank gets: standard deviation over mean
  Collectives collectives;
  PrecisionPlan precision;
  GradientPlan gradient_sync;  ///< how gradients become new parameters on every rank
  UpdatePlan update;           ///< what a new parameter takes
  Recompute recompute;
  Offload offload;       ///< of activations to the host
  bool dropout = false;  ///< of embedding, attention's weights and each block's result
  std::shared_ptr<const Software> software;
  std::shared_ptr<const Cost> cost;  ///< of a kernel
  std::shared_ptr<const Engine> engine;
  std::string software_name, cost_name, engine_name;
  Certainty certainty;
  Resolution resolution = Resolution::folded;
  Faults faults;
  std::optional<Budget> budget;
  std::int64_t step_after_rest = 0;  ///< which step it is since devices last rested; 0: one of very many
  std::int64_t repeat = 1;           ///< runs of `moesim run`, each with seeds of its own
  MfuAttention mfu_attention = MfuAttention::causal;

  const Fabric& fabric() const { return cluster->fabric; }
  const SoftwareHabits& habits() const { return software->habits(); }
  /// Whether each rank of a tensor-parallel group has tokens of its own between blocks: its part with
  /// sequence parallelism, which divides norms and residuals; a rank without others has its own whatever was
  /// given.
  bool divides_tokens(const Sizes& sizes) const { return sequence_parallel || sizes.tensor == 1; }
  bool divides_tokens() const { return divides_tokens(layout.sizes()); }
  /// Whether products that a tensor-parallel group shares run in parts beside what it sends for them.
  bool splits_products() const {
    return habits().splits_tensor_products && sequence_parallel && layout.sizes().tensor > 1;
  }
  /// Slots for experts on each rank of an expert group: one for each expert of a layer and the redundant
  /// ones, divided over the ranks.
  std::int64_t slots_per_rank(const Experts& experts) const {
    return (experts.count + redundant_experts) / layout.sizes().expert;
  }
  /// Microbatches that one pipeline works through in a step.
  std::int64_t microbatches() const {
    return fixed ? fixed->microbatches : batch.sequences / (layout.sizes().data * batch.microbatch);
  }
  /// Stages that the model is cut into.
  std::int64_t stages() const { return chains.empty() ? 1 : std::ssize(chains.front()); }
  /// Rows of the busiest rank of an expert group over their mean: all wait for it at every exchange.
  double busiest_over_mean() const { return largest_over_mean(routing_spread, layout.sizes().expert); }
  /// The index of a stage's first layer.
  std::int64_t first_layer(std::int64_t model_stage) const;
  /// The place of a layer in its stage, counted from 0; before layers are dealt out, as if evenly.
  std::int64_t place_in_stage(std::int64_t layer) const;
  /// What of a layer is computed again.
  Recompute recompute_of(std::size_t layer) const {
    const bool differs = recompute.differs_by_place();
    return recompute.of(differs ? recompute.variant(place_in_stage(static_cast<std::int64_t>(layer))) : 0);
  }
  /// The format of a layer's products.
  Precision gemm_of(std::size_t layer) const;
};

}  // namespace moesim
