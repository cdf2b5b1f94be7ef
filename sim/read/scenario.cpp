#include "sim/read/scenario.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "models/base/error.hpp"
#include "models/config/fields.hpp"
#include "sim/read/axes.hpp"
#include "sim/read/certainty.hpp"
#include "sim/read/drift.hpp"
#include "sim/read/faults.hpp"
#include "sim/read/fit.hpp"
#include "sim/read/offload.hpp"
#include "sim/read/parts.hpp"
#include "sim/read/precision.hpp"
#include "sim/read/recompute.hpp"
#include "sim/read/rules.hpp"
#include "sim/read/search_bounds.hpp"
#include "sim/read/words.hpp"

namespace moesim {
namespace {

void read_about(Reader& reader, Scenario& scenario) {
  read_fields(reader, scenario,
              field(&Scenario::about,
                    {.name = "about", .help = "one sentence that says what this is", .fallback = ""}));
  if (!reader.is_describing()) scenario.words.title = title_of(reader.value());
}

void read_schedule(Reader& reader, Scenario& scenario) {
  Reader schedule = part_or_empty(reader, "schedule", "the order of passes on each pipeline rank",
                                  member_names(schedules()));
  scenario.schedule = make_member(schedule, schedules(), "pipeline schedule", "1f1b");
  scenario.words.schedule = words_of(schedule, "1f1b");
}

/// The stages of the schedule, which must serve the pipeline that the scenario comes to.
void place_stages(const Reader& reader, Scenario& scenario) {
  scenario.chains = scenario.schedule->chains(scenario.layout.sizes().pipeline);
  reader.expect(fits_schedule, scenario);
}

void read_routing(Reader& reader, Scenario& scenario) {
  Reader part = part_or_empty(reader, "routing", "which experts a token goes to", member_names(routings()));
  const ExpertChoices choices = read_expert_choices(part);
  scenario.placement = choices.placement;
  scenario.redundant_experts = choices.redundant;
  scenario.routing_spread = choices.spread;
  if (auto drift = part.optional_part("drift", "a run of many steps, over which popularity moves"))
    scenario.drift = read_drift(std::move(*drift));
  scenario.router = read_router(part);
  reader.expect(fits_gates, scenario);
  reader.expect(fits_experts, scenario);
}

void read_gradient_sync(Reader& reader, Scenario& scenario) {
  Reader part = part_or_empty(reader, "gradient_sync", "how gradients become parameters",
                              member_names(gradient_syncs()));
  scenario.gradient_sync = make_member(part, gradient_syncs(), "gradient_sync", "zero1")->plan();
  scenario.words.gradient_sync = words_of(part, "zero1");
  reader.expect(fits_gradient_sync, scenario);
}

/// Software of GPUs calls NCCL, whose behaviour is known on some.
UsualCollectives usual_collectives(const Scenario& scenario) {
  const Generation generation = scenario.cluster->device.generation;
  const SoftwareHabits& habits = scenario.habits();
  return {.generation = generation,
          .are_nccl = habits.is_of_gpus && generation != Generation::none,
          .exchanges = habits.exchanges};
}

void read_collectives_part(Reader& reader, Scenario& scenario) {
  scenario.collectives = read_collectives(
      part_or_empty(reader, "collectives", "the algorithm of each communication"), scenario.fabric(),
      usual_collectives(scenario), scenario.gradient_sync, scenario.context_exchange);
  reader.expect(fits_multiprocessors, scenario);
  reader.expect(fits_tensor_overlap, scenario);
}

void read_engine(Reader& reader, Scenario& scenario) {
  Reader engine = part_or_empty(reader, "engine", "who shares what, when", member_names(engines()));
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
  read_fields(
      reader, scenario,
      field(&Scenario::repeat, {.name = "repeat",
                                .help = "runs of `moesim run`, each with seeds one higher, for percentiles",
                                .fallback = 1,
                                .at_least = 1,
                                .at_most = 100'000}));
}

void read_certainty_part(Reader& reader, Scenario& scenario) {
  const std::string origin = reader.is_describing() ? std::string() : reader.value().origin;
  scenario.certainty = read_certainty(part_or_empty(reader, "certainty", "how sure times are"), origin);
}

/// A scenario that gives the durations of whole passes, so that published schedule tables can be replayed.
Scenario read_pipeline_only(Reader reader) {
  Scenario scenario;
  read_about(reader, scenario);
  const PipelineSizes sizes = read_pipeline_sizes(reader.part("pipeline", "a pipeline without a model"));
  read_schedule(reader, scenario);
  PassDurations durations = read_fixed_cost(reader.part("cost", "durations of the passes"));
  const std::int64_t chunks = scenario.schedule->chunks_of_given_durations();
  for (Time* duration :
       {&durations.forward, &durations.backward_input, &durations.backward_weight, &durations.overlapped}) {
    *duration = *duration / chunks;
  }
  scenario.fixed = {sizes.microbatches, durations};
  scenario.layout = Layout({.pipeline = sizes.stages}, scenario.layout.placement());
  place_stages(reader, scenario);
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
  scenario.communication =
      read_communication(reader.part("communication", "one communication by itself"), scenario.fabric(),
                         scenario.cluster->device.generation, scenario.words.collective);
  read_engine(reader, scenario);
  scenario.faults =
      read_link_faults(part_or_empty(reader, "faults", "links with part of their rate"), scenario.fabric());
  apply_faults(scenario.faults.links, scenario.cluster->fabric);
  read_certainty_part(reader, scenario);
  check_sweep(reader);
  reader.finish();
  return scenario;
}

/// Model, cluster and batch, and how the first is spread over the second. Returns the layers of each stage as
/// given.
std::vector<std::int64_t> read_work(Reader& reader, Scenario& scenario) {
  Reader model = reader.part("model", "the transformer");
  scenario.model = read_model(model);
  Reader cluster = reader.part("cluster", "devices and fabric");
  scenario.cluster = read_cluster(cluster);
  scenario.batch = read_batch(reader.part("batch", "the work of one step"));
  reader.expect(limits_tokens, scenario.batch);
  Parallelism parallelism =
      read_parallelism(part_or_empty(reader, "parallelism", "how the model is spread over devices"));
  std::vector<std::int64_t> layers_per_stage = parallelism.layers_per_stage;
  fit_sizes(reader, scenario, std::move(parallelism));
  return layers_per_stage;
}

/// Keys that the software had before it was a part of its own, each where it was.
void say_moved(const Reader& reader) {
  for (const std::string_view key : {"fused_loss", "update_passes", "placeholder_gradients"})
    reader.moved(key, fmt::format("software.{}", key));
  for (const auto& [part, keys] :
       std::initializer_list<std::pair<std::string_view, std::vector<std::string_view>>>{
           {"collectives", {"tensor_backward"}},
           {"cost", {"streaming_passes", "attention", "grouped_gemm", "norm_backward", "permutation"}}}) {
    for (const std::string_view key : keys)
      reader.moved(fmt::format("{}.{}", part, key), fmt::format("software.{}", key));
  }
}

void read_software(Reader& reader, Scenario& scenario) {
  Reader software =
      part_or_empty(reader, "software", "what runs on the devices for each op", member_names(softwares()));
  const std::string_view usual = scenario.cluster->device.is_gpu() ? "megatron_core" : "ideal";
  const Entry<Software>& entry = choose_member(software, softwares(), "software", usual);
  scenario.software = entry.make(software);
  scenario.software_name = entry.name;
  software.finish();
  reader.expect(fits_software, scenario);
}

void read_optimizer(Reader& reader, Scenario& scenario) {
  Reader part = part_or_empty(reader, "optimizer", "what a new parameter takes", member_names(optimizers()));
  // Gradients get the format of the shards that they are of (torch/distributed/fsdp, FSDPParamGroup).
  const bool has_wide_shards = scenario.gradient_sync.shards == Precision::fp32;
  const UpdateForm form{.parameter = has_wide_shards ? Precision::fp32 : scenario.habits().parameters,
                        .gradient = has_wide_shards ? Precision::fp32 : scenario.precision.gradient,
                        .moments = scenario.precision.moments,
                        .casts_inside = scenario.habits().casts_in_update};
  scenario.update = make_member(part, optimizers(), "optimizer", "adamw")->plan(form);
  scenario.words.optimizer = words_of(part, "adamw");
  reader.expect(fits_update, scenario);
  reader.expect(fits_offload, scenario);
}

/// Details of a step that are keys of the scenario itself.
void read_details(Reader& reader, Scenario& scenario) {
  read_fields(
      reader, scenario,
      field(
          &Scenario::dropout,
          {.name = "dropout",
           .help = "of the embedding, of attention's weights, and of each block's result before it is added "
                   "to the residual stream",
           .fallback = false}),
      choice(&Scenario::mfu_attention, mfu_attention_names,
             {.name = "mfu_attention",
              .help = "what MFU counts of causal attention: the scores that are needed, or the whole square, "
                      "as Megatron-LM until Core 0.11",
              .fallback = "causal"}));
}

/// What is independent of the pipeline.
void read_choices(Reader& reader, Scenario& scenario) {
  say_moved(reader);
  read_routing(reader, scenario);
  read_gradient_sync(reader, scenario);
  scenario.precision = read_precision_plan(part_or_empty(reader, "precision", "number formats"));
  read_software(reader, scenario);
  read_collectives_part(reader, scenario);
  read_optimizer(reader, scenario);
  reader.expect(fits_precision, scenario);
  scenario.recompute = read_recompute(reader);
  scenario.words.recompute = recompute_words(reader, scenario.recompute);
  reader.expect(fits_recompute, scenario);
  scenario.offload = read_offload(
      part_or_empty(reader, "offload", "activations that are in the host's memory from forward to backward"));
  scenario.words.offload = offload_words(scenario.offload);
  reader.expect(fits_activation_offload, scenario);
  read_details(reader, scenario);
  reader.expect(fits_dropout, scenario);
  Reader cost = part_or_empty(reader, "cost", "the time of one op", member_names(costs()));
  const Entry<Cost>& entry = choose_member(cost, costs(), "cost model", "roofline");
  scenario.cost = entry.make(cost);
  scenario.cost_name = entry.name;
  cost.finish();
  read_certainty_part(reader, scenario);
  read_engine(reader, scenario);
  read_fields(reader, scenario,
              choice(&Scenario::resolution, resolution_names,
                     {.name = "resolution",
                      .help = "whether one rank stands for its symmetric peers",
                      .fallback = "folded"}));
  read_disturbances(reader, scenario);
  read_fields(reader, scenario,
              field(&Scenario::step_after_rest,
                    {.name = "step_after_rest",
                     .help = "which step this is since the devices last rested, for as long as their power's "
                             "window they then have the full clock; 0: one of very many",
                     .fallback = 0,
                     .at_least = 0,
                     .at_most = 1'000'000}));
  if (auto budget = reader.optional_part("budget", "a whole training, and what it costs"))
    scenario.budget = read_budget(std::move(*budget));
  reader.expect(fits_budget, scenario);
  reader.expect(fits_clock, scenario);
  reader.expect(fits_drift, scenario);
}

Scenario read_training_step(Reader reader) {
  Scenario scenario;
  read_about(reader, scenario);
  const std::vector<std::int64_t> layers_per_stage = read_work(reader, scenario);
  read_schedule(reader, scenario);
  read_choices(reader, scenario);
  reader.expect(fits_rows, scenario);
  reader.expect(limits_microbatches, scenario.batch, scenario.layout.sizes());
  place_stages(reader, scenario);
  const std::int64_t stages = scenario.stages();
  const std::int64_t layers = std::ssize(scenario.model.layers);
  reader.expect(fits_layers, layers_per_stage, layers, stages);
  scenario.layers_per_stage = layers_of_stages(layers_per_stage, layers, stages);
  reader.expect(fits_recomputed_layers, scenario);
  reader.expect(fits_tasks, scenario);
  if (auto search = reader.optional_part("search", "what `moesim search` may choose; a run leaves it alone"))
    static_cast<void>(read_search_bounds(std::move(*search)));
  check_sweep(reader);
  reader.finish();
  return scenario;
}

}  // namespace

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
