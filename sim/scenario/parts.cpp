#include "sim/scenario/parts.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "models/base/error.hpp"
#include "models/config/values.hpp"
#include "sim/scenario/words.hpp"

namespace moesim {
namespace {

constexpr std::int64_t largest = 1'000'000'000;

/// An object without keys, for parts that are not given.
const Value& no_keys() {
  static const Value value = empty_object();
  return value;
}

std::vector<Axis> read_placement(Reader& reader) {
  const std::vector<std::string> names = reader.texts(
      {.name = "placement",
       .help = "order in which the dimensions are laid over neighbouring devices, innermost first "
               "(default: tensor, context, expert_tensor, expert, data, pipeline; context and expert_tensor "
               "stand behind tensor where they are not named)"});
  std::vector<Axis> placement;
  for (const std::string& name : names) {
    const auto* const found = std::find(std::begin(axis_names), std::end(axis_names), name);
    if (found == std::end(axis_names)) {
      reader.fail("placement", fmt::format("unknown '{}' (known: {})", name, fmt::join(axis_names, ", ")));
    }
    const auto axis = static_cast<Axis>(found - std::begin(axis_names));
    if (std::find(placement.begin(), placement.end(), axis) != placement.end()) {
      reader.fail("placement", fmt::format("names '{}' twice", name));
    }
    placement.push_back(axis);
  }
  for (const Axis axis : {Axis::tensor, Axis::expert, Axis::data, Axis::pipeline}) {
    if (std::find(placement.begin(), placement.end(), axis) != placement.end()) continue;
    if (!names.empty()) {
      reader.fail("placement",
                  fmt::format("lacks '{}', expected all of {}", axis_names[static_cast<std::size_t>(axis)],
                              fmt::join(axis_names, ", ")));
    }
    placement.push_back(axis);
  }
  return placement;
}

Precision read_precision(Reader& reader, std::string_view name, std::string_view help, Precision fallback) {
  return static_cast<Precision>(
      reader.choice({.name = name,
                     .help = help,
                     .fallback = std::string(precision_names[static_cast<std::size_t>(fallback)])},
                    precision_names));
}

std::unique_ptr<const Collective> read_collective(Reader& reader, std::string_view name,
                                                  std::string_view help, std::string_view fallback,
                                                  Operation operation, const Fabric& fabric) {
  Reader chosen = part_or_empty(reader, name, help);
  std::unique_ptr<const Collective> made = make_member(chosen, collectives(), help, fallback);
  // Asked once here so that an algorithm that cannot do its job is an error of the input, not of the run.
  const DeviceId two[] = {0, fabric.device_count() > 1 ? 1U : 0U};
  try {
    static_cast<void>(made->plan({.operation = operation, .group = two, .bytes = Bytes{1}}, fabric));
  } catch (const InputError& error) {
    reader.fail(name, std::string(error.what()).substr(std::string("collectives: ").size()));
  }
  return made;
}

bool read_sequence_parallel(Reader& reader) {
  return reader.flag({.name = "sequence_parallel",
                      .help = "the tensor group divides norms and residuals over tokens, and gathers and "
                              "reduce-scatters around each block (arXiv 2205.05198); false: every rank has "
                              "all of them, and blocks end in an all-reduce (arXiv 1909.08053)",
                      .fallback = true});
}

void read_switch_layout(Reader& reader, Parallelism& parallelism) {
  parallelism.layout = static_cast<SwitchLayout>(reader.choice(
      {.name = "layout",
       .help =
           "a layout of the Switch Transformer paper (arXiv 2101.03961, section 5), which decides tensor, "
           "context, expert, expert_tensor and sequence_parallel; given: they are given one by one",
       .fallback = "given"},
      switch_layout_names));
  parallelism.model = reader.integer({.name = "model",
                                      .help = "model-parallel size of the layouts that have data-parallel "
                                              "ranks too: model_data and expert_model_data",
                                      .fallback = 0,
                                      .at_least = 0,
                                      .at_most = largest});
  for (const std::string_view key : {"tensor", "context", "expert", "expert_tensor", "sequence_parallel"}) {
    if (reader.has(key)) parallelism.given.push_back(key);
  }
}

}  // namespace

Batch read_batch(Reader reader) {
  Batch batch;
  batch.sequences = reader.integer({.name = "sequences",
                                    .help = "sequences of a step, over all devices",
                                    .at_least = 1,
                                    .at_most = largest});
  batch.sequence_length = reader.integer(
      {.name = "sequence_length", .help = "tokens of a sequence", .at_least = 1, .at_most = largest});
  batch.microbatch = reader.integer({.name = "microbatch",
                                     .help = "sequences of one microbatch of one data-parallel rank",
                                     .fallback = 1,
                                     .at_least = 1,
                                     .at_most = largest});
  reader.finish();
  return batch;
}

Parallelism read_parallelism(Reader reader) {
  const auto size = [&](std::string_view name, std::string_view help, std::int64_t most = largest) {
    return reader.integer({.name = name, .help = help, .fallback = 1, .at_least = 1, .at_most = most});
  };
  constexpr std::int64_t most_parts = 100'000;
  Parallelism parallelism;
  parallelism.sizes.pipeline = size("pipeline", "pipeline ranks");
  parallelism.sizes.tensor = size("tensor", "ranks that share each matrix");
  parallelism.sizes.context =
      size("context", "ranks that share each sequence; causal work is spread evenly over them (zigzag)",
           most_parts);
  parallelism.sizes.expert = size("expert", "ranks that share the experts of a layer");
  parallelism.sizes.expert_tensor =
      size("expert_tensor", "ranks that share each matrix of an expert (Megatron-LM's default is tensor)",
           most_parts);
  parallelism.sequence_parallel = read_sequence_parallel(reader);
  parallelism.context_exchange = static_cast<ContextExchange>(reader.choice(
      {.name = "context_exchange",
       .help =
           "how keys and values reach the other context ranks: all_gather before the attention (Llama 3), "
           "or ring, from rank to rank beside the attention on those that have come (Ring Attention)",
       .fallback = "ring"},
      context_exchange_names));
  read_switch_layout(reader, parallelism);
  parallelism.placement = read_placement(reader);
  parallelism.layers_per_stage = reader.integers(
      {.name = "layers_per_stage",
       .help = "layers of each stage of the model, in the order of the forward pass (default: equal)",
       .at_least = 0});
  reader.finish();
  return parallelism;
}

PrecisionPlan read_precision_plan(Reader reader) {
  PrecisionPlan plan;
  plan.gemm = read_precision(reader, "gemm", "operands of matrix products", plan.gemm);
  plan.dispatch = read_precision(reader, "dispatch", "tokens on their way to the experts", plan.dispatch);
  plan.combine = read_precision(reader, "combine", "expert outputs on their way back", plan.combine);
  plan.gradient = read_precision(reader, "gradient", "gradients, kept and synchronised", plan.gradient);
  plan.moments = read_precision(reader, "moments", "the optimizer's two moments", plan.moments);
  reader.finish();
  return plan;
}

Operation gradient_operation(Updater updater) {
  switch (updater) {
    case Updater::every_rank:
      return Operation::all_reduce;
    case Updater::owner:
      return Operation::reduce_scatter;
    case Updater::server:
      return Operation::reduce;
  }
  return Operation::all_reduce;
}

Collectives read_collectives(Reader reader, const Fabric& fabric, const GradientPlan& gradients,
                             ContextExchange context_exchange) {
  Collectives all;
  const auto read = [&](std::string_view name, std::string_view help, std::string_view fallback,
                        Operation operation) {
    return read_collective(reader, name, help, fallback, operation, fabric);
  };
  all.dispatch = read("dispatch", "tokens to the experts", "pairwise", Operation::all_to_all);
  all.combine = read("combine", "expert outputs back", "pairwise", Operation::all_to_all);
  const bool to_server = gradients.updater == Updater::server;
  const std::string_view usual = to_server ? "pairwise" : "ring";
  all.gradients = read("gradients", "sum of gradients over data-parallel ranks", usual,
                       gradient_operation(gradients.updater));
  all.parameters = read("parameters", "updated parameters to data-parallel ranks", usual,
                        to_server ? Operation::broadcast : Operation::all_gather);
  all.servers = read("servers", "sum of gradients among parameter servers", "ring", Operation::all_reduce);
  all.tensor = read("tensor", "activations inside a tensor-parallel group", "ring", Operation::all_gather);
  const bool is_ring = context_exchange == ContextExchange::ring;
  all.context =
      read("context",
           "keys and values inside a context-parallel group: sends where they go round in a ring, "
           "else an all-gather",
           is_ring ? "pairwise" : "ring", is_ring ? Operation::point_to_point : Operation::all_gather);
  all.expert_tensor =
      read("expert_tensor", "rows inside an expert's tensor-parallel group", "ring", Operation::all_gather);
  all.pipeline = read("pipeline", "activations from stage to stage", "pairwise", Operation::point_to_point);
  all.communication_sms =
      reader.integer({.name = "communication_sms",
                      .help = "multiprocessors that communication kernels hold while they run",
                      .fallback = 0,
                      .at_least = 0});
  constexpr std::int64_t most_channels = 1024;
  all.channels =
      reader.integer({.name = "channels",
                      .help = "channels of a communicator, each with a buffer for each neighbour in "
                              "ring and tree (NCCL: 16 across nodes of eight GPUs and NICs)",
                      .fallback = 16,
                      .at_least = 0,
                      .at_most = most_channels});
  all.peer_channels = reader.integer(
      {.name = "peer_channels",
       .help = "channels for single sends to each peer, of groups inside a node (NCCL: 32 over "
               "NVSwitch; two or one in groups across nodes)",
       .fallback = 32,
       .at_least = 0,
       .at_most = most_channels});
  all.slowed_by_compute =
      reader.number({.name = "slowed_by_compute",
                     .help = "how much longer an exchange of tokens takes while its device computes",
                     .fallback = 1.0,
                     .at_least = 1.0,
                     .at_most = 100.0});
  all.tensor_backward = static_cast<TensorBackward>(reader.choice(
      {.name = "tensor_backward",
       .help =
           "what a backward pass does while tensor parallelism communicates: overlapped, input gradients "
           "while inputs are gathered again, and weight gradients while input gradients are summed "
           "(Megatron-LM; in passes that compute both gradients, alone on the device), or in_turn, nothing",
       .fallback = "overlapped"},
      tensor_backward_names));
  all.stage_sends = static_cast<StageSends>(reader.choice(
      {.name = "stage_sends",
       .help = "what each rank of a tensor group sends to the next stage where all hold the same, which is "
               "without sequence_parallel: whole, all of it (Megatron-Core), or scattered, its part, which "
               "the receiving group gathers (Megatron-LM before, Megatron-DeepSpeed; arXiv 2104.04473)",
       .fallback = "whole"},
      stage_sends_names));
  reader.finish();
  return all;
}

Recompute read_recompute(Reader& reader) {
  struct Choice {
    std::string_view name;
    bool Recompute::*flag;
  };
  static constexpr Choice choices[] = {{"full", &Recompute::full},
                                       {"norm", &Recompute::norm},
                                       {"activation", &Recompute::activation},
                                       {"latent", &Recompute::latent},
                                       {"attention", &Recompute::attention},
                                       {"experts", &Recompute::experts}};
  Recompute recompute;
  for (const std::string& name : reader.texts({.name = "recompute",
                                 .help = "computed again in backward instead of kept: full, norm, "
                                         "activation, latent, attention, experts"})) {
    if (name == "none") continue;
    const auto* const found =
        std::find_if(std::begin(choices), std::end(choices), [&](const Choice& c) { return c.name == name; });
    if (found == std::end(choices)) {
      reader.fail(
          "recompute",
          fmt::format("unknown '{}' (known: none, full, norm, activation, latent, attention, experts)",
                      name));
    }
    recompute.*(found->flag) = true;
  }
  return recompute;
}

ExpertChoices read_expert_choices(Reader& reader) {
  ExpertChoices choices;
  choices.placement =
      static_cast<Placement>(reader.choice({.name = "placement",
                                            .help = "which rank of an expert group holds which experts: "
                                                    "in_order, or balanced by popularity (DeepSeek's EPLB)",
                                            .fallback = "in_order"},
                                           placement_names));
  choices.redundant = reader.integer({.name = "redundant",
                                      .help = "slots of an expert group for copies of its hottest experts",
                                      .fallback = 0,
                                      .at_least = 0,
                                      .at_most = 1'000'000});
  choices.spread =
      reader.number({.name = "spread",
                     .help = "instead of skew, in closed form: how far the rows of a rank stray, "
                             "standard deviation over mean; every rank is then the busiest",
                     .fallback = 0.0,
                     .at_least = 0.0,
                     .at_most = 1.0});
  return choices;
}

PipelineSizes read_pipeline_sizes(Reader reader) {
  PipelineSizes sizes;
  sizes.stages =
      reader.integer({.name = "stages", .help = "pipeline ranks", .at_least = 1, .at_most = 30'000});
  sizes.microbatches = reader.integer({.name = "microbatches",
                                       .help = "microbatches of a step, both directions together",
                                       .at_least = 1,
                                       .at_most = 1'000'000});
  reader.finish();
  return sizes;
}

PassDurations read_fixed_cost(Reader reader) {
  static constexpr std::string_view kinds[] = {"fixed"};
  static_cast<void>(
      reader.choice({.name = "kind", .help = "durations are given", .fallback = "fixed"}, kinds));
  const auto read = [&](std::string_view name, std::string_view help, std::optional<Time> fallback) {
    return reader.time(
        {.name = name, .help = help, .fallback = fallback, .at_least = Time{fallback ? 0 : 1}});
  };
  PassDurations durations;
  durations.forward = read("forward", "a forward", std::nullopt);
  durations.backward_input = read("backward_input", "the input gradient", std::nullopt);
  durations.backward_weight = read("backward_weight", "the weight gradient", std::nullopt);
  const Time sum = durations.forward + durations.backward_input + durations.backward_weight;
  durations.overlapped = read("overlapped_forward_backward",
                              "a forward overlapped with a full backward (default: their sum)", sum);
  const Time longer = std::max(durations.forward, durations.backward_input + durations.backward_weight);
  if (durations.overlapped < longer) {
    reader.fail("overlapped_forward_backward",
                fmt::format("is {}, expected at least the longer of its halves, {}",
                            print(durations.overlapped), print(longer)));
  }
  durations.send = read("p2p_latency", "from one rank to the next; occupies neither", Time{0});
  reader.finish();
  return durations;
}

OneCommunication read_communication(Reader reader, const Fabric& fabric, std::string& words) {
  OneCommunication communication;
  communication.operation = static_cast<Operation>(
      reader.choice({.name = "operation", .help = "what the ranks of a group do together"}, operation_names));
  communication.bytes =
      reader.bytes({.name = "bytes",
                    .help = "of the whole buffer; all_to_all: what a rank has for all, itself included",
                    .at_least = Bytes{1}});
  const auto devices = static_cast<std::int64_t>(fabric.device_count());
  const bool is_pair = communication.operation == Operation::point_to_point;
  communication.group_size = reader.integer({.name = "group_size",
                                             .help = "neighbouring devices that form a group (0: all)",
                                             .fallback = is_pair ? 2 : 0,
                                             .at_least = 0});
  if (communication.group_size == 0) communication.group_size = devices;
  const bool is_ring = communication.operation == Operation::all_reduce ||
                       communication.operation == Operation::reduce_scatter ||
                       communication.operation == Operation::all_gather;
  const std::string_view usual = is_ring ? "ring" : "pairwise";
  communication.collective =
      read_collective(reader, "collective", "the algorithm", usual, communication.operation, fabric);
  reader.finish();
  if (reader.is_describing()) return communication;
  words = words_of(part_or_empty(reader, "collective", "the algorithm"), usual);
  if (communication.group_size < 2 || devices % communication.group_size != 0 ||
      (is_pair && communication.group_size != 2)) {
    reader.fail("group_size", fmt::format("is {}, expected {} and a divisor of {} devices",
                                          communication.group_size, is_pair ? "2" : "at least 2", devices));
  }
  return communication;
}

Reader part_or_empty(Reader& reader, std::string_view name, std::string_view help) {
  std::optional<Reader> part = reader.optional_part(name, help);
  return part ? std::move(*part) : Reader(no_keys(), std::string(name));
}

}  // namespace moesim
