// Megatron-Core with Transformer Engine (megatron_core.hpp). Keys are its arguments; what another part of a
// scenario says already (recomputation, capacities, sharing and overlap of gradients, collectives, schedule)
// is told there. Defaults are those with which Megatron-Bridge runs it (v0.2.1, models/gpt_provider.py,
// qwen/qwen_provider.py: grouped products, fused permutation, rotary embedding, loss and accumulation).
#include "models/software/megatron_core.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <memory>

#include "models/base/at.hpp"
#include "models/config/fields.hpp"
#include "models/software/host.hpp"
#include "models/software/software.hpp"

namespace moesim {
namespace {

using namespace megatron;
using namespace literals;
using pytorch::Kernels;

/// core/pipeline_parallel/schedules.py.
constexpr std::array<std::string_view, 2> pipelines{"1f1b", "interleaved"};

/// MXFP8 is a format of Blackwell's matrix units; HybridEP copies by Hopper's engines (deepseek-ai/DeepEP,
/// branch hybrid-ep).
Generation needed_generation(const Choices& choices) {
  if (choices.recipe == Fp8Recipe::mxfp8) return Generation::blackwell;
  return choices.permutes_there() ? Generation::hopper : Generation::none;
}

SoftwareHabits habits_of(const Choices& choices, const HostTimes& host) {
  return {
      .fusion = {.attention = choices.attention == AttentionCode::fused,
                 .permutation = !choices.weighs_at_home()},
      .fused_loss = choices.fuses_loss,
      .update_passes = choices.has_precise_optimizer ? UpdatePasses::one : UpdatePasses::separate,
      .adds_gradients = !choices.fuses_accumulation,
      .placeholder_gradients =
          choices.fuses_accumulation && choices.transformer == TransformerCode::transformer_engine,
      .tensor_backward = choices.connections == 1 ? TensorBackward::overlapped : TensorBackward::in_turn,
      .splits_tensor_products = choices.splits_products,
      .delays_weights = choices.delays_weights,
      .waits_in_dispatch = choices.reads_counts() && !choices.gathers_tokens(),
      .groups_experts = choices.groups_gemm,
      .is_of_gpus = true,
      .exchanges = {.way = choices.gathers_tokens() ? TokenExchange::all_gather : TokenExchange::all_to_all,
                    .library = !choices.is_flex()                   ? "nccl"
                               : choices.flex == FlexCode::hybridep ? "hybrid_ep"
                                                                    : "deepep"},
      .graph_waits = choices.graphs.iteration && !choices.pads_to_capacity && !choices.permutes_there(),
      .has_narrow_weights = choices.transformer == TransformerCode::transformer_engine,
      .recipe = choices.recipe,
      .since = needed_generation(choices),
      .since_key =
          choices.recipe == Fp8Recipe::mxfp8 ? "software.fp8_recipe" : "software.moe_flex_dispatcher_backend",
      .schedules = pipelines,
      .host = host};
}

class MegatronCore final : public Software {
 public:
  MegatronCore(const Choices& choices, const HostTimes& host)
      : choices_(choices), habits_(habits_of(choices, host)) {}

  void add_kernels(const Op& op, std::vector<Op>& kernels) const override {
    const std::size_t first = kernels.size();
    add_parts(op, kernels);
    if (choices_.graphs.of_layers()) capture(op, choices_, first, kernels);
  }
  const SoftwareHabits& habits() const override { return habits_; }

 private:
  void add_parts(const Op& op, std::vector<Op>& kernels) const {
    Kernels k(op, kernels);
    switch (op.module) {
      case Module::projection:
        return add_product(op, choices_, k);
      case Module::norm:
        return add_norm(op, choices_, k);
      case Module::rotary:
        return add_rotary(op, choices_, k);
      case Module::core:
        return add_core(op, choices_, kernels);
      case Module::residual:
        return add_residual(op, k);
      case Module::embedding:
        return add_embedding(op, k);
      case Module::loss:
        return add_loss(op, k);
      case Module::cast:
        return add_cast(op, choices_, k);
      case Module::update:
        return add_update(op, kernels);
      case Module::gradient_sums:
      case Module::bucket_in:
      case Module::bucket_out:
      case Module::shards_in:
      case Module::gathered_out:
      case Module::gradients_in:
      case Module::gradients_out:
        return pytorch::add_copies(op, kernels);
      default:
        add_moe(op, kernels);
    }
  }

  void add_moe(const Op& op, std::vector<Op>& kernels) const {
    Kernels k(op, kernels);
    switch (op.module) {
      case Module::router:
        return add_router(op, choices_, k);
      case Module::permute:
        return add_permute(op, choices_, kernels);
      case Module::sort:
        return add_sort(op, choices_, kernels);
      case Module::unpermute:
        return add_unpermute(op, choices_, k);
      case Module::experts:
        return add_experts(op, choices_, k);
      case Module::expert_activation:
        return add_expert_activation(op, choices_, k);
      case Module::shared_gate:
        return add_shared_gate(op, k);
      default:  // one fused kernel: activations of dense layers, dropout
        k.op(op);
    }
  }

  Choices choices_;
  SoftwareHabits habits_;
};

/// A part of a layer waits for an event of its microbatch under its stream, and records it
/// (core/pipeline_parallel/utils.py: ScheduleNode.stream_acquire_context): four products of a part take the
/// host 30 us more so than in one graph, forward (PyTorch 2.11 on the host of an H200, 2026-12-01).
constexpr Time node_events{30'300'000};

/// Collectives and waits as measured where launches were. Weight gradients of a pass of their own are
/// products that were put aside (transformer_engine/pytorch/module/_common.py: WeightGradStore), without
/// autograd.
constexpr HostTimes usual_host{.forward = forward_launch,
                               .backward = backward_launch,
                               .update = 15_us,
                               .call = 100_us,
                               .part = product_in_loop + launch_in_loop,
                               .start = 100_us,
                               .wait = 16_us};

struct Scope {
  std::string_view name;
  bool GraphScope::*flag;
};
constexpr Scope scopes[] = {{"attn", &GraphScope::attention},
                            {"moe_router", &GraphScope::router},
                            {"moe_preprocess", &GraphScope::preprocess},
                            {"full_iteration", &GraphScope::iteration}};

GraphScope read_graphs(Reader& reader) {
  GraphScope graphs;
  for (const std::string& name :
       reader.texts({.name = "cuda_graph_scope",
       .help = "what of a layer CUDA graphs hold (attn, moe_router, moe_preprocess), so that it is launched "
               "at once; full_iteration holds all, and no host is left"})) {
    const auto found = std::find_if(std::begin(scopes), std::end(scopes),
                                    [&](const Scope& one) { return one.name == name; });
    if (found == std::end(scopes)) {
      reader.fail(
          "cuda_graph_scope",
          fmt::format("unknown '{}' (known: attn, moe_router, moe_preprocess, full_iteration)", name));
    }
    graphs.*(found->flag) = true;
  }
  return graphs;
}

void read_fusions(Reader& reader, Choices& choices) {
  read_fields(
      reader, choices,
      field(&Choices::groups_gemm,
            {.name = "moe_grouped_gemm",
             .help = "products of local experts are launched together, a kernel each (GroupedLinear of "
                     "Transformer Engine), or expert by expert as modules",
             .fallback = true}),
      field(
          &Choices::fuses_permute,
          {.name = "moe_permute_fusion",
           .help = "rows are brought to experts and back by fused kernels (from 0.11 on), or by index, added "
                   "up atomically, and the host waits for how many there are",
           .fallback = choices.version >= Version::v0_11}),
      field(&Choices::fuses_router, {.name = "moe_router_fusion",
                                     .help = "one kernel for the choice of experts (from 0.14 on)",
                                     .fallback = false}),
      field(&Choices::fuses_rope,
            {.name = "apply_rope_fusion", .help = "a kernel for each rotary embedding", .fallback = true}),
      field(&Choices::fuses_loss, {.name = "cross_entropy_loss_fusion",
                                   .help = "cross entropy without a copy of the logits in fp32",
                                   .fallback = true}),
      field(&Choices::fuses_accumulation,
            {.name = "gradient_accumulation_fusion",
             .help = "gradients are added to the sum in fp32 inside the product, and autograd gets a bf16 "
                     "tensor for each shape of weights, never read",
             .fallback = true}),
      field(&Choices::has_precise_optimizer,
            {.name = "use_precision_aware_optimizer",
             .help = "Adam takes gradients as they are; else separate passes zero, check, scale, measure and "
                     "clip them and copy parameters",
             .fallback = false}));
}

void read_modules(Reader& reader, Choices& choices) {
  read_fields(
      reader, choices,
      choice(
          &Choices::transformer, transformer_names,
          {.name = "transformer_impl",
           .help = "whose norms: of Transformer Engine, or of apex (local), which go over their input once "
                   "more for the weight's gradient",
           .fallback = "transformer_engine"}),
      choice(
          &Choices::attention, attention_names,
          {.name = "attention_backend",
           .help = "one kernel, or separate ones that write the scores to memory and keep them for backward",
           .fallback = "fused"}),
      choice(&Choices::recipe, fp8_recipe_names,
             {.name = "fp8_recipe",
              .help = "over what numbers in fp8 share a scale, which decides how many kernels a cast is",
              .fallback = "delayed"}),
      field(&Choices::connections,
            {.name = "cuda_device_max_connections",
             .help =
                 "CUDA_DEVICE_MAX_CONNECTIONS: with 1 a backward pass computes input gradients while inputs "
                 "are gathered again, and weight gradients while input gradients are summed; with more it "
                 "computes nothing while tensor parallelism communicates",
             .fallback = 1,
             .at_least = 1,
             .at_most = 32}));
}

void read_tensor_overlap(Reader& reader, Choices& choices) {
  read_fields(
      reader, choices,
      field(&Choices::splits_products,
            {.name = "tp_comm_overlap",
             .help = "the product of queries, keys and values and the first of a dense feed-forward run in "
                     "parts while their inputs are gathered over a tensor-parallel group, the output "
                     "projection and the second while their results are added up, and so do gradients of the "
                     "latter's inputs; needs sequence_parallel",
             .fallback = false}));
  if (choices.splits_products && choices.transformer == TransformerCode::local)
    reader.fail("tp_comm_overlap", "is true, which Transformer Engine does, but transformer_impl is local");
}

void read_dispatch(Reader& reader, Choices& choices) {
  read_fields(
      reader, choices,
      choice(&Choices::dispatcher, dispatcher_names,
             {.name = "moe_token_dispatcher_type",
              .help = "rows are permuted, exchanged and sorted (alltoall), all tokens are gathered and those "
                      "of local experts permuted (allgather), or rows are sent once for each rank and "
                      "permuted there (flex)",
              .fallback = "alltoall"}),
      choice(&Choices::flex, flex_names,
             {.name = "moe_flex_dispatcher_backend",
              .help = "of flex: DeepEP, or HybridEP, which permutes rows itself",
              .fallback = "deepep"}),
      field(
          &Choices::pads_to_capacity,
          {.name = "moe_pad_expert_input_to_capacity",
           .help = "experts get as many rows as they have capacity for, so that no shape depends on routing "
                   "and the host waits for no counts; capacity and drops are those of routing",
           .fallback = false}),
      field(&Choices::delays_weights,
            {.name = "delay_wgrad_compute",
             .help =
                 "in overlapped pairs of passes gradients of weights are computed apart, behind what others "
                 "wait for; else with those of inputs",
             .fallback = true}),
      field(
          &Choices::is_experimental,
          {.name = "enable_experimental",
           .help =
               "of flex with DeepEP: choices are brought into a map of experts by one kernel, else by those "
               "of PyTorch, for which the host waits three times",
           .fallback = false}),
      field(&Choices::aux_loss, {.name = "moe_aux_loss_coeff",
                                 .help = "of a loss that balances experts; above 0 its kernels run",
                                 .fallback = 0.0,
                                 .at_least = 0.0,
                                 .at_most = 1.0}));
}

void expect_version(const Reader& reader, const Choices& choices, std::string_view key, bool is_asked,
                    Version since) {
  if (!is_asked || choices.version >= since) return;
  reader.fail(key, fmt::format("is of Megatron-Core {} and later, but version is {}",
                               at(version_names, since), at(version_names, choices.version)));
}

void check(const Reader& reader, const Choices& choices) {
  expect_version(reader, choices, "moe_permute_fusion", choices.fuses_permute, Version::v0_11);
  expect_version(reader, choices, "moe_router_fusion", choices.fuses_router, Version::v0_14);
  expect_version(reader, choices, "moe_token_dispatcher_type", choices.is_flex(), Version::v0_12);
  expect_version(reader, choices, "moe_flex_dispatcher_backend", choices.permutes_there(), Version::v0_16);
  expect_version(reader, choices, "cuda_graph_scope", choices.graphs.router || choices.graphs.preprocess,
                 Version::v0_16);
  if (choices.graphs.preprocess && !choices.graphs.router)
    reader.fail("cuda_graph_scope", "has moe_preprocess, expected moe_router with it");
  if (choices.is_flex() && choices.flex == FlexCode::deepep && choices.pads_to_capacity)
    reader.fail("moe_pad_expert_input_to_capacity",
                "is true, which DeepEP does not take: expected alltoall or "
                "hybridep");
  if (choices.gathers_tokens() && choices.pads_to_capacity)
    reader.fail("moe_pad_expert_input_to_capacity",
                "is true, which is of the dispatchers alltoall and flex (hybridep), but "
                "moe_token_dispatcher_type is allgather");
}

std::unique_ptr<const Software> make(Reader& reader) {
  Choices choices;
  read_fields(
      reader, choices,
      choice(&Choices::version, version_names,
             {.name = "version", .help = "release of Megatron-Core, as it is tagged", .fallback = "v0.19"}));
  read_fusions(reader, choices);
  read_modules(reader, choices);
  read_tensor_overlap(reader, choices);
  read_dispatch(reader, choices);
  choices.graphs = read_graphs(reader);
  check(reader, choices);
  HostTimes usual = usual_host;
  read_fields(
      reader, usual,
      field(&HostTimes::node, {.name = "host_node",
                               .help = "of the host for a part of a layer that an overlapped pair runs "
                                       "by itself, beside its launches and, in a backward, what "
                                       "autograd takes",
                               .fallback = node_events,
                               .at_least = Time{}}));
  HostTimes host = read_host_times(reader, usual);
  if (choices.graphs.iteration) host = of_one_graph(host);
  return std::make_unique<MegatronCore>(choices, host);
}

}  // namespace

extern constexpr Entry<Software> megatron_core_software{
    "megatron_core", "Megatron-Core with Transformer Engine: the kernels, waits and host of its releases",
    make};

}  // namespace moesim
