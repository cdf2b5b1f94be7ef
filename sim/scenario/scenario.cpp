#include "sim/scenario/scenario.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <numeric>

#include "models/base/error.hpp"
#include "sim/scenario/axes.hpp"
#include "sim/scenario/fold.hpp"
#include "sim/scenario/holdings.hpp"
#include "sim/scenario/parts.hpp"
#include "sim/scenario/search_bounds.hpp"
#include "sim/scenario/share.hpp"
#include "sim/scenario/switch_layout.hpp"
#include "sim/scenario/work_times.hpp"

namespace moesim {
namespace {

/// As many as a tag of a task can number.
constexpr std::int64_t most_ranks = 30'000;
/// Of a step, as many as a pipeline without a model may have.
constexpr std::int64_t most_microbatches = 1'000'000;
/// Of a microbatch: times the widest model they still fit 63 bits of bytes.
constexpr std::int64_t most_tokens = 1'000'000'000;

[[noreturn]] void does_not_divide(const Reader& reader, std::string_view key, std::string_view what,
                                  std::int64_t whole, std::string_view by, std::int64_t parts) {
  reader.fail(key, fmt::format("{} {} do not divide by {} {}", whole, what, by, parts));
}

bool has_experts(const Model& model) {
  return std::any_of(model.layers.begin(), model.layers.end(), [](const Layer& l) { return l.is_moe; });
}

/// The product of the sizes against the devices.
void fit_devices(const Reader& reader, std::int64_t devices, Sizes& sizes) {
  const std::int64_t product = sizes.pipeline * sizes.tensor * sizes.context;
  if (devices % product != 0) {
    const std::string context = sizes.context > 1 ? fmt::format(" x context {}", sizes.context) : "";
    does_not_divide(reader, "parallelism", "devices", devices,
                    fmt::format("pipeline {} x tensor {}{} =", sizes.pipeline, sizes.tensor, context),
                    product);
  }
  sizes.data = devices / product;
  const std::int64_t experts = sizes.expert * sizes.expert_tensor;
  if (sizes.stage_devices() % experts == 0) return;
  const std::string by =
      sizes.expert_tensor == 1
          ? "expert"
          : fmt::format("expert {} x expert_tensor {} =", sizes.expert, sizes.expert_tensor);
  does_not_divide(reader, "parallelism.expert", "devices of a pipeline rank", sizes.stage_devices(), by,
                  experts);
}

/// The parts of the model against the sizes that divide them.
void fit_model(const Reader& reader, const Model& model, const Sizes& sizes) {
  for (const Layer& layer : model.layers) {
    if (layer.is_moe && layer.experts.width % sizes.expert_tensor != 0) {
      does_not_divide(reader, "parallelism.expert_tensor", "columns of an expert", layer.experts.width,
                      "expert_tensor", sizes.expert_tensor);
    }
    if (layer.attention.heads % sizes.tensor != 0) {
      does_not_divide(reader, "parallelism.tensor", "attention heads", layer.attention.heads, "tensor",
                      sizes.tensor);
    }
  }
  for (const auto& [key, size] :
       {std::pair{"expert", sizes.expert}, std::pair{"expert_tensor", sizes.expert_tensor}}) {
    if (size == 1 || has_experts(model)) continue;
    reader.fail(fmt::format("parallelism.{}", key),
                fmt::format("is {}, but the model '{}' has no experts", size, model.name));
  }
}

/// Sequences over data-parallel ranks, tokens over the ranks that share a sequence.
void fit_batch(const Reader& reader, const Batch& batch, const Sizes& sizes) {
  const std::int64_t at_once = sizes.data * batch.microbatch;
  if (batch.sequences % at_once != 0) {
    does_not_divide(reader, "batch.sequences", "sequences", batch.sequences,
                    fmt::format("data-parallel {} x microbatch {} =", sizes.data, batch.microbatch), at_once);
  }
  // Zigzag gives each context rank two pieces of a sequence, one from either end.
  const std::int64_t pieces = sizes.context > 1 ? 2 * sizes.context : 1;
  if (batch.sequence_length % (sizes.tensor * pieces) == 0) return;
  const std::string by = sizes.context == 1
                             ? "tensor"
                             : fmt::format("tensor {} x 2 x context {} =", sizes.tensor, sizes.context);
  does_not_divide(reader, "batch.sequence_length", "tokens", batch.sequence_length, by,
                  sizes.tensor * pieces);
}

/// The groups of attention against those of experts.
void fit_groups(const Reader& reader, const Scenario& scenario) {
  const Layout& layout = scenario.layout;
  if (const std::optional<std::string> misfit = layout.misfit())
    reader.fail("parallelism.placement", *misfit);
  const Sizes& sizes = layout.sizes();
  if (scenario.divides_tokens() || !has_experts(scenario.model)) return;
  if (sizes.expert_tensor != sizes.tensor) {
    reader.fail("parallelism.expert_tensor",
                fmt::format("is {}, expected {} as tensor: without sequence_parallel all ranks of a tensor "
                            "group have the same tokens",
                            sizes.expert_tensor, sizes.tensor));
  }
  if (layout.expert_tensor_groups() != layout.tensor_groups()) {
    reader.fail("parallelism.placement",
                "puts other devices into a group of expert_tensor than into one of tensor, which hold the "
                "same tokens without sequence_parallel");
  }
}

/// Every size against every other, each with the numbers that clash.
void fit_sizes(const Reader& reader, Scenario& scenario, Parallelism parallelism) {
  const std::int64_t devices = scenario.fabric().device_count();
  if (parallelism.sizes.pipeline > most_ranks) {
    reader.fail("parallelism.pipeline",
                fmt::format("is {}, expected at most {}", parallelism.sizes.pipeline, most_ranks));
  }
  if (devices % parallelism.sizes.pipeline == 0) {
    apply_layout(reader, devices / parallelism.sizes.pipeline, has_experts(scenario.model), parallelism);
  }
  fit_devices(reader, devices, parallelism.sizes);
  fit_model(reader, scenario.model, parallelism.sizes);
  fit_batch(reader, scenario.batch, parallelism.sizes);
  scenario.layout = Layout(parallelism.sizes, parallelism.placement);
  scenario.sequence_parallel = parallelism.sequence_parallel;
  scenario.context_exchange = parallelism.context_exchange;
  fit_groups(reader, scenario);
}

/// A list of layers for each stage that a user can take over: as even as it goes.
std::string even_split(std::int64_t layers, std::int64_t stages) {
  std::vector<std::int64_t> split(static_cast<std::size_t>(stages), layers / stages);
  for (std::int64_t i = 0; i < layers % stages; ++i) ++split[static_cast<std::size_t>(i)];
  return fmt::format("--set parallelism.layers_per_stage=[{}]", fmt::join(split, ","));
}

void fit_layers(const Reader& reader, Scenario& scenario, std::vector<std::int64_t> given) {
  const std::int64_t stages = scenario.order.model_stages();
  const auto layers = static_cast<std::int64_t>(scenario.model.layers.size());
  if (given.empty()) {
    if (layers % stages != 0) {
      reader.fail("parallelism.layers_per_stage",
                  fmt::format("is missing: {} layers do not divide by {} stages evenly", layers, stages),
                  "say how many layers each stage has, as " + even_split(layers, stages));
    }
    given.assign(static_cast<std::size_t>(stages), layers / stages);
  }
  if (static_cast<std::int64_t>(given.size()) != stages) {
    reader.fail("parallelism.layers_per_stage",
                fmt::format("has {} entries, expected one for each of {} stages", given.size(), stages),
                "as " + even_split(layers, stages));
  }
  const std::int64_t sum = std::accumulate(given.begin(), given.end(), std::int64_t{0});
  if (sum != layers) {
    reader.fail("parallelism.layers_per_stage",
                fmt::format("adds up to {} layers, expected the model's {}", sum, layers));
  }
  scenario.layers_per_stage = std::move(given);
}

void fit_group_routing(const Reader& reader, const Scenario& scenario) {
  for (const Layer& layer : scenario.model.layers) {
    if (!layer.is_moe) continue;
    try {
      scenario.router.check(gate_of(layer.experts));
    } catch (const InputError& error) {
      reader.fail("routing", error.what());
    }
  }
}

/// Each rank of an expert group has as many slots, of experts and copies together.
void fit_slots(const Reader& reader, const Scenario& scenario) {
  const std::int64_t ranks = scenario.layout.sizes().expert;
  for (const Layer& layer : scenario.model.layers) {
    const std::int64_t slots = layer.experts.count + scenario.redundant_experts;
    if (!layer.is_moe || slots % ranks == 0) continue;
    if (scenario.redundant_experts == 0)
      does_not_divide(reader, "parallelism.expert", "experts", slots, "expert", ranks);
    does_not_divide(reader, "routing.redundant",
                    fmt::format("experts + {} redundant = {} slots", scenario.redundant_experts, slots),
                    layer.experts.count, "expert", ranks);
  }
}

/// Copies and spread against what they stand beside.
void fit_experts(const Reader& reader, const Scenario& scenario) {
  const std::int64_t redundant = scenario.redundant_experts;
  fit_slots(reader, scenario);
  if (redundant > 0 && scenario.placement != Placement::balanced) {
    reader.fail("routing.redundant", fmt::format("is {}, but in_order placement makes no copies", redundant),
                "add --set routing.placement=balanced");
  }
  const auto pads = [&](const Layer& layer) { return padded_capacity(scenario, layer) > 0; };
  const std::vector<Layer>& layers = scenario.model.layers;
  if (redundant > 0 && std::any_of(layers.begin(), layers.end(), pads)) {
    reader.fail("routing.redundant", fmt::format("is {}, but padded buffers are full whatever the load: "
                                                 "copies of experts have nothing to share",
                                                 redundant));
  }
  if (scenario.routing_spread > 0 && has_uneven_loads(scenario)) {
    reader.fail(
        "routing.spread",
        fmt::format("is {}, but the loads of each rank are simulated: it stands for skew in closed form",
                    scenario.routing_spread));
  }
}

void read_about(Reader& reader, Scenario& scenario) {
  scenario.about =
      reader.text({.name = "about", .help = "one sentence that says what this is", .fallback = ""});
  if (!reader.is_describing()) scenario.words.title = title_of(reader.value());
}

/// What is computed again must be there to be computed.
void fit_recompute(const Reader& reader, const Scenario& scenario) {
  const auto lacks = [&](auto has) {
    return std::none_of(scenario.model.layers.begin(), scenario.model.layers.end(), has);
  };
  const std::string& name = scenario.model.name;
  if (scenario.recompute.latent && lacks([](const Layer& layer) { return layer.attention.is_latent(); }))
    reader.fail("recompute", fmt::format("names latent, but the model '{}' has no latent attention", name));
  if (scenario.recompute.experts && lacks([](const Layer& layer) { return layer.is_moe; }))
    reader.fail("recompute", fmt::format("names experts, but the model '{}' has none", name));
}

void read_schedule(Reader& reader, Scenario& scenario) {
  Reader schedule = part_or_empty(reader, "schedule", "the order of passes on each pipeline rank");
  scenario.schedule = make_member(schedule, schedules(), "pipeline schedule", "1f1b");
  scenario.words.schedule = words_of(schedule, "1f1b");
}

/// The order of the schedule; sizes that it cannot serve are an error of the scenario's key.
void make_order(const Reader& reader, Scenario& scenario, const PipelineShape& shape) {
  try {
    scenario.order = scenario.schedule->order(shape);
  } catch (const InputError& error) {
    reader.fail("schedule", std::string(error.what()).substr(std::string("schedule: ").size()));
  }
  check(scenario.order);
}

void read_routing(Reader& reader, Scenario& scenario) {
  Reader part = part_or_empty(reader, "routing", "which experts a token goes to");
  const ExpertChoices choices = read_expert_choices(part);
  scenario.placement = choices.placement;
  scenario.redundant_experts = choices.redundant;
  scenario.routing_spread = choices.spread;
  scenario.router = read_router(part);
  if (reader.is_describing()) return;
  fit_group_routing(reader, scenario);
  fit_experts(reader, scenario);
}

void read_gradient_sync(Reader& reader, Scenario& scenario) {
  Reader part = part_or_empty(reader, "gradient_sync", "how gradients become parameters");
  scenario.gradient_sync = make_member(part, gradient_syncs(), "gradient_sync", "zero1")->plan();
  scenario.words.gradient_sync = words_of(part, "zero1");
  if (scenario.gradient_sync.shards_gradients && scenario.schedule->is_bidirectional()) {
    reader.fail("gradient_sync",
                "shards gradients or parameters over ranks that hold a stage for opposite directions of the "
                "schedule, and so would tie their microbatches to each other",
                "zero1 shards the optimizer's state only");
  }
}

void read_collectives_part(Reader& reader, Scenario& scenario) {
  scenario.collectives =
      read_collectives(part_or_empty(reader, "collectives", "the algorithm of each communication"),
                       scenario.fabric(), scenario.gradient_sync, scenario.context_exchange);
  const Device& device = scenario.cluster->device;
  if (scenario.collectives.communication_sms >= device.multiprocessors) {
    reader.fail("collectives.communication_sms",
                fmt::format("is {}, expected less than the {} multiprocessors of {}",
                            scenario.collectives.communication_sms, device.multiprocessors, device.name));
  }
}

void read_engine(Reader& reader, Scenario& scenario) {
  Reader engine = part_or_empty(reader, "engine", "who shares what, when");
  const Entry<Engine>& entry = choose_member(engine, engines(), "engine", "fluid");
  scenario.engine = entry.make(engine);
  scenario.engine_name = entry.name;
  engine.finish();
}

void read_disturbances(Reader& reader, Scenario& scenario) {
  constexpr std::string_view what = "what goes wrong: stragglers, links, jitter, failures";
  Fabric* fabric = scenario.cluster ? &scenario.cluster->fabric : nullptr;
  const std::int64_t devices = fabric != nullptr ? fabric->device_count() : scenario.layout.sizes().pipeline;
  scenario.faults = read_faults(part_or_empty(reader, "faults", what), devices, fabric);
  if (fabric != nullptr) apply_faults(scenario.faults.links, *fabric);
  scenario.repeat =
      reader.integer({.name = "repeat",
                      .help = "runs of `moesim run`, each with seeds one higher, for percentiles",
                      .fallback = 1,
                      .at_least = 1,
                      .at_most = 100'000});
}

/// A scenario that gives the durations of whole passes, so that published schedule tables can be replayed.
Scenario read_pipeline_only(Reader reader) {
  Scenario scenario;
  read_about(reader, scenario);
  const PipelineSizes sizes = read_pipeline_sizes(reader.part("pipeline", "a pipeline without a model"));
  read_schedule(reader, scenario);
  scenario.fixed = read_fixed_cost(reader.part("cost", "durations of the passes"));
  const std::int64_t chunks = scenario.schedule->chunks_of_given_durations();
  for (Time* duration : {&scenario.fixed->forward, &scenario.fixed->backward_input,
                         &scenario.fixed->backward_weight, &scenario.fixed->overlapped}) {
    *duration = *duration / chunks;
  }
  make_order(reader, scenario,
             {.ranks = sizes.stages,
              .microbatches = sizes.microbatches,
              .forward = scenario.fixed->forward,
              .backward_input = scenario.fixed->backward_input,
              .backward_weight = scenario.fixed->backward_weight,
              .send = scenario.fixed->send});
  scenario.layout = Layout({.pipeline = sizes.stages}, scenario.layout.placement());
  read_engine(reader, scenario);
  read_disturbances(reader, scenario);
  check_sweep(reader);
  reader.finish();
  return scenario;
}

/// A scenario that is one communication.
Scenario read_communication_only(Reader reader) {
  Scenario scenario;
  read_about(reader, scenario);
  Reader cluster = reader.part("cluster", "devices and fabric");
  scenario.cluster = read_cluster(cluster);
  scenario.communication = read_communication(reader.part("communication", "one communication by itself"),
                                              scenario.fabric(), scenario.words.collective);
  scenario.order.ranks.resize(1);  // one actor stands for all devices; it has no passes
  read_engine(reader, scenario);
  scenario.faults =
      read_link_faults(part_or_empty(reader, "faults", "links with part of their rate"), scenario.fabric());
  apply_faults(scenario.faults.links, scenario.cluster->fabric);
  check_sweep(reader);
  reader.finish();
  return scenario;
}

/// Model, cluster and batch, and how the first is spread over the second. Answers the layers of each stage as
/// given.
std::vector<std::int64_t> read_work(Reader& reader, Scenario& scenario) {
  Reader model = reader.part("model", "the transformer");
  scenario.model = read_model(model);
  Reader cluster = reader.part("cluster", "devices and fabric");
  scenario.cluster = read_cluster(cluster);
  scenario.batch = read_batch(reader.part("batch", "the work of one step"));
  if (scenario.batch.microbatch > most_tokens / scenario.batch.sequence_length) {
    reader.fail("batch.microbatch",
                fmt::format("is {} sequences of {} tokens, expected at most {} tokens together",
                            scenario.batch.microbatch, scenario.batch.sequence_length, most_tokens));
  }
  Parallelism parallelism =
      read_parallelism(part_or_empty(reader, "parallelism", "how the model is spread over devices"));
  std::vector<std::int64_t> layers_per_stage = parallelism.layers_per_stage;
  fit_sizes(reader, scenario, std::move(parallelism));
  scenario.paces = paces_of(scenario);
  return layers_per_stage;
}

/// What is independent of the pipeline.
void read_choices(Reader& reader, Scenario& scenario) {
  read_routing(reader, scenario);
  read_gradient_sync(reader, scenario);
  read_collectives_part(reader, scenario);
  scenario.precision = read_precision_plan(part_or_empty(reader, "precision", "number formats"));
  scenario.recompute = read_recompute(reader);
  scenario.words.recompute = recompute_words(reader);
  if (!reader.is_describing()) fit_recompute(reader, scenario);
  scenario.fused_loss = reader.flag(
      {.name = "fused_loss", .help = "cross entropy without a copy of the logits in fp32", .fallback = true});
  scenario.dropout = reader.flag({.name = "dropout",
                                  .help = "of the embedding, of attention's weights, and of each block's "
                                          "result before it is added to the residual stream",
                                  .fallback = false});
  scenario.update_passes = static_cast<UpdatePasses>(
      reader.choice({.name = "update_passes",
                     .help = "Adam in one pass, or with separate passes that zero, check, scale, measure and "
                             "clip gradients and copy parameters",
                     .fallback = "one"},
                    update_pass_names));
  scenario.placeholder_gradients = reader.flag(
      {.name = "placeholder_gradients",
       .help = "a bf16 tensor for each shape of weights, never read, where their gradients are added to the "
               "sum inside the product",
       .fallback = false});
  scenario.mfu_attention = static_cast<MfuAttention>(
      reader.choice({.name = "mfu_attention",
                     .help = "what MFU counts of causal attention: the scores that are needed, or the whole "
                             "square, as Megatron-LM until Core 0.11",
                     .fallback = "causal"},
                    mfu_attention_names));
  Reader cost = part_or_empty(reader, "cost", "the time of one op");
  scenario.cost = make_member(cost, costs(), "cost model", "roofline");
  read_engine(reader, scenario);
  scenario.resolution = static_cast<Resolution>(reader.choice(
      {.name = "resolution", .help = "whether one rank stands for its symmetric peers", .fallback = "folded"},
      resolution_names));
  read_disturbances(reader, scenario);
}

/// Buckets of gradients that the pipeline ranks send beside compute, each in a step or for each microbatch.
double buckets(const Scenario& scenario) {
  const GradientPlan& plan = scenario.gradient_sync;
  if (plan.by_layer || !(plan.overlap || plan.shards_gradients)) return 0;  // by layer: a few tasks each
  double bytes = 0;
  for (std::int64_t rank = 0; rank < scenario.layout.sizes().pipeline; ++rank) {
    bytes +=
        static_cast<double>((size_of(scenario.precision.gradient) * holdings(scenario, rank).total()).count);
  }
  const Bytes bucket = plan.bucket_for(1, size_of(scenario.precision.gradient));
  const double times = plan.shards_gradients ? static_cast<double>(scenario.microbatches()) : 1.0;
  return times * bytes / static_cast<double>(bucket.count);
}

/// About ten tasks a layer.
void fit_tasks(const Reader& reader, const Scenario& scenario) {
  const double ranks = static_cast<double>(fold_of(scenario, Loading::as_routed).count);
  const double tasks = ranks * (10.0 * static_cast<double>(scenario.microbatches()) *
                                    static_cast<double>(scenario.model.layers.size()) +
                                buckets(scenario));
  if (tasks <= most_tasks) return;
  reader.fail("batch.sequences",
              fmt::format("come to about {:.2g} tasks ({} microbatches), expected at most {:.2g}", tasks,
                          scenario.microbatches(), most_tasks));
}

/// Rows of experts that 64 bits hold with room to add them up. Each token may be sent, or a place kept for
/// it, to each expert, and gathered by the ranks that share an expert's matrices.
void fit_rows(const Reader& reader, const Scenario& scenario) {
  constexpr double most = 1e16;
  for (const Layer& layer : scenario.model.layers) {
    if (!layer.is_moe) continue;
    const double rows = static_cast<double>(tokens_per_device(scenario)) *
                        static_cast<double>(layer.experts.count) *
                        static_cast<double>(scenario.layout.sizes().expert_tensor);
    if (rows <= most) continue;
    reader.fail("batch.microbatch",
                fmt::format("comes to {:.2g} rows of experts, expected at most {:.2g}", rows, most));
  }
}

/// The pipeline that a schedule is asked for. Durations are those of an average stage, without communication.
PipelineShape shape_of_pipeline(const Reader& reader, const Scenario& scenario) {
  const Sizes& sizes = scenario.layout.sizes();
  const std::int64_t microbatches = scenario.batch.sequences / (sizes.data * scenario.batch.microbatch);
  if (microbatches > most_microbatches) {
    reader.fail("batch.sequences",
                fmt::format("come to {} microbatches of a data-parallel rank, expected at most {}",
                            microbatches, most_microbatches));
  }
  if (reader.is_describing()) return {};
  const std::int64_t stages =
      scenario.schedule->is_bidirectional() ? sizes.pipeline : sizes.pipeline * scenario.schedule->chunks();
  const WorkTimes times(scenario);
  const auto layers = static_cast<std::int64_t>(scenario.model.layers.size());
  const auto average = [&](OpPass pass) { return std::max(Time{1}, times.of_model(pass) / stages); };
  return {.ranks = sizes.pipeline,
          .microbatches = microbatches,
          .forward = average(OpPass::forward),
          .backward_input = average(OpPass::backward_input),
          .backward_weight = average(OpPass::backward_weight),
          .kept_for_weight = most_kept_for_weight(scenario, layers / stages)};
}

Scenario read_training_step(Reader reader) {
  Scenario scenario;
  read_about(reader, scenario);
  const std::vector<std::int64_t> layers_per_stage = read_work(reader, scenario);
  read_schedule(reader, scenario);
  read_choices(reader, scenario);
  if (!reader.is_describing()) fit_rows(reader, scenario);
  make_order(reader, scenario, shape_of_pipeline(reader, scenario));
  fit_layers(reader, scenario, layers_per_stage);
  fit_tasks(reader, scenario);
  if (auto search = reader.optional_part("search", "what `moesim search` may choose; a run leaves it alone"))
    static_cast<void>(read_search_bounds(std::move(*search)));
  check_sweep(reader);
  if (!reader.is_describing() && has_uneven_loads(scenario)) scenario.loads.emplace(scenario);
  reader.finish();
  return scenario;
}

}  // namespace

std::int64_t Scenario::first_layer(std::int64_t model_stage) const {
  return std::accumulate(layers_per_stage.begin(), layers_per_stage.begin() + model_stage, std::int64_t{0});
}

Scenario read_scenario(Reader reader) {
  if (reader.has("pipeline")) return read_pipeline_only(std::move(reader));
  if (reader.has("communication")) return read_communication_only(std::move(reader));
  return read_training_step(std::move(reader));
}

Scenario read_scenario(const Value& document) { return read_scenario(Reader(document, "")); }

Scenario load_scenario(const std::string& path, const std::vector<Override>& overrides) {
  return read_scenario(load_document(path, overrides));
}

}  // namespace moesim
