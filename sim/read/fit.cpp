#include "sim/read/fit.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "models/base/at.hpp"
#include "models/base/error.hpp"
#include "sim/read/rules.hpp"
#include "sim/read/switch_layout.hpp"
#include "sim/work/fold.hpp"
#include "sim/work/holdings.hpp"
#include "sim/work/share.hpp"
#include "sim/work/update_bytes.hpp"
#include "sim/work/work.hpp"

namespace moesim {
namespace {

/// Tag::pipeline_rank has 16 bits.
Fit limits_ranks(const Sizes& sizes) {
  constexpr std::int64_t most = 30'000;
  if (sizes.pipeline <= most) return {};
  return Misfit("parallelism.pipeline", "is {}, expected at most {}", sizes.pipeline, most);
}

/// As even as it goes.
std::vector<std::int64_t> even_split(std::int64_t layers, std::int64_t stages) {
  std::vector<std::int64_t> split(static_cast<std::size_t>(stages), layers / stages);
  for (std::int64_t i = 0; i < layers % stages; ++i) ++at(split, i);
  return split;
}

/// A list of layers for each stage that a user can take over.
std::string hint_of_split(std::int64_t layers, std::int64_t stages) {
  return fmt::format("--set parallelism.layers_per_stage=[{}]", fmt::join(even_split(layers, stages), ","));
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

}  // namespace

void fit_sizes(const Reader& reader, Scenario& scenario, Parallelism parallelism) {
  const std::int64_t devices = scenario.fabric().device_count();
  const Model& model = scenario.model;
  Sizes& sizes = parallelism.sizes;
  reader.expect(limits_ranks(sizes));
  if (devices % sizes.pipeline == 0)
    apply_layout(reader, devices / sizes.pipeline, model.has_experts(), parallelism);
  reader.expect(divides_devices(devices, sizes));
  sizes.data = devices / (sizes.pipeline * sizes.tensor * sizes.context);
  reader.expect(divides_stage(sizes));
  reader.expect(divides_columns(model, sizes));
  reader.expect(divides_heads(model, sizes));
  reader.expect(has_experts_to_spread(model, sizes));
  reader.expect(divides_sequences(scenario.batch, sizes));
  reader.expect(divides_tokens_of(scenario.batch, sizes));
  scenario.layout = Layout(sizes, parallelism.placement);
  scenario.sequence_parallel = parallelism.sequence_parallel;
  scenario.context_exchange = parallelism.context_exchange;
  reader.expect(fits_targets(scenario));
  reader.expect(fits_groups(scenario, scenario.layout));
}

Fit fits_targets(const Scenario& scenario) {
  constexpr std::string_view key = "batch.target_length";
  const Batch& batch = scenario.batch;
  const Sizes& sizes = scenario.layout.sizes();
  if (batch.target_length == 0) return {};
  if (scenario.model.encoder_layers == 0)
    return Misfit(key, "is {}, but the model '{}' has no encoder", batch.target_length, scenario.model.name);
  if (!scenario.divides_tokens() || batch.target_length % sizes.tensor == 0) return {};
  return Misfit(key, "{} tokens do not divide by tensor {}", batch.target_length, sizes.tensor);
}

Fit fits_layers(const std::vector<std::int64_t>& given, std::int64_t layers, std::int64_t stages) {
  constexpr std::string_view key = "parallelism.layers_per_stage";
  if (given.empty()) {
    if (layers % stages == 0) return {};
    return Misfit(key, "is missing: {} layers do not divide by {} stages evenly", layers, stages)
        .with_hint("say how many layers each stage has, as " + hint_of_split(layers, stages));
  }
  const std::int64_t entries = std::ssize(given);
  if (entries % stages != 0 && stages % entries != 0) {
    return Misfit(key, "has {} entries, expected one for each of {} stages, or for equal parts of them",
                  entries, stages)
        .with_hint("as " + hint_of_split(layers, stages));
  }
  const std::int64_t sum = std::accumulate(given.begin(), given.end(), std::int64_t{0});
  if (sum == layers) return {};
  return Misfit(key, "adds up to {} layers, expected the model's {}", sum, layers);
}

std::vector<std::int64_t> layers_of_stages(const std::vector<std::int64_t>& given, std::int64_t layers,
                                           std::int64_t stages) {
  if (given.empty()) return even_split(layers, stages);
  const std::int64_t entries = std::ssize(given);
  const std::int64_t merged = std::max(std::int64_t{1}, entries / stages);
  const std::int64_t cut = std::max(std::int64_t{1}, stages / entries);
  std::vector<std::int64_t> all;
  for (auto entry = given.begin(); entry != given.end(); entry += merged) {
    const std::vector<std::int64_t> parts =
        even_split(std::accumulate(entry, entry + merged, std::int64_t{0}), cut);
    all.insert(all.end(), parts.begin(), parts.end());
  }
  return all;
}

Fit fits_gates(const Scenario& scenario) {
  for (const Layer& layer : scenario.model.layers) {
    if (!layer.is_moe) continue;
    try {
      scenario.router.check(gate_of(layer.experts));
    } catch (const InputError& error) {
      return Misfit("routing", "{}", error.problem());
    }
  }
  return {};
}

Fit fits_experts(const Scenario& scenario) {
  const std::int64_t redundant = scenario.redundant_experts;
  if (Fit fit = divides_slots(scenario.model, redundant, scenario.layout.sizes())) return fit;
  if (scenario.placement == Placement::by_topic && !scenario.router.coactivation) {
    return Misfit("routing.placement",
                  "is by_topic, but without routing.coactivation no experts are chosen together");
  }
  if (redundant > 0 && scenario.placement == Placement::in_order) {
    return Misfit("routing.redundant", "is {}, but in_order placement makes no copies", redundant)
        .with_hint("add --set routing.placement=balanced");
  }
  bool pads = false;
  for (std::size_t i = 0; i < scenario.model.layers.size(); ++i)
    pads = pads || padded_capacity(scenario, i) > 0;
  if (redundant > 0 && pads) {
    return Misfit("routing.redundant",
                  "is {}, but padded buffers are full whatever the load: copies of experts have nothing to "
                  "share",
                  redundant);
  }
  if (scenario.routing_spread > 0 && pads) {
    return Misfit("routing.spread", "is {}, but padded buffers are full whatever the load: expected 0",
                  scenario.routing_spread);
  }
  if (scenario.routing_spread > 0 && has_uneven_loads(scenario)) {
    return Misfit("routing.spread",
                  "is {}, but the loads of each rank are simulated: it stands for skew in closed form",
                  scenario.routing_spread);
  }
  return {};
}

Fit fits_gradient_sync(const Scenario& scenario) {
  const std::int64_t shards = scenario.gradient_sync.shard_ranks;
  const std::int64_t holders = holders_of(scenario).replicated;
  if (shards > 0 && holders % shards != 0) {
    return Misfit("gradient_sync.shard_ranks", "is {}, expected a divisor of the {} ranks that hold the same",
                  shards, holders);
  }
  if (!scenario.gradient_sync.shards_passes() || !scenario.schedule->is_bidirectional()) return {};
  if (scenario.gradient_sync.gathers_beside) {
    return Misfit("gradient_sync.overlap_parameters",
                  "is true, but ranks that share parameters have stages for opposite directions of the "
                  "schedule, whose first passes would wait for each other: expected false");
  }
  return Misfit("gradient_sync",
                "shards gradients or parameters over ranks that hold a stage for opposite directions of the "
                "schedule, and so would tie their microbatches to each other")
      .with_hint("zero1 shards the optimizer's state only");
}

Fit fits_multiprocessors(const Scenario& scenario) {
  const Device& device = scenario.cluster->device;
  if (scenario.collectives.communication_sms < device.multiprocessors) return {};
  return Misfit("collectives.communication_sms", "is {}, expected less than the {} multiprocessors of {}",
                scenario.collectives.communication_sms, device.multiprocessors, device.name);
}

Fit fits_tensor_overlap(const Scenario& scenario) {
  const std::int64_t ranks = scenario.layout.sizes().tensor;
  if (!scenario.habits().splits_tensor_products || ranks == 1) return {};
  if (!scenario.sequence_parallel)
    return Misfit("software.tp_comm_overlap", "is true, but parallelism.sequence_parallel is {}",
                  std::string_view("false: nothing is gathered"));
  const std::int64_t node = scenario.fabric().devices_per_node();
  if (ranks <= node && node % ranks == 0) return {};
  return Misfit("software.tp_comm_overlap",
                "is true, but a tensor group has {} ranks: expected one that lies in a node of {}", ranks,
                node);
}

Fit fits_schedule(const Scenario& scenario) { return scenario.schedule->fits(shape_of_pipeline(scenario)); }

Fit fits_software(const Scenario& scenario) {
  const SoftwareHabits& habits = scenario.habits();
  const Device& device = scenario.cluster->device;
  const std::string& model = scenario.model.name;
  if (habits.is_of_gpus && !device.is_gpu()) {
    return Misfit("software", "is {}, which runs on GPUs, but {} is none", scenario.software_name,
                  device.name)
        .with_hint("--set 'software={\"kind\": \"ideal\"}'");
  }
  if (habits.is_of_tpus && device.is_gpu()) {
    return Misfit("software", "is {}, whose kernels are those of TPUs, but {} is a GPU",
                  scenario.software_name, device.name);
  }
  const bool is_known = device.generation != Generation::none;
  if (is_known && device.generation < habits.since) {
    return Misfit(habits.since_key, "is of {} and later, but {} is of {}", at(generation_names, habits.since),
                  device.name, at(generation_names, device.generation));
  }
  if (scenario.software_name == "deepseek" && scenario.precision.gemm != Precision::fp8) {
    return Misfit("precision.gemm", "is {}, but the kernels of deepseek multiply, cast and keep in fp8",
                  at(precision_names, scenario.precision.gemm));
  }
  const Precision gemm = scenario.precision.gemm;
  // Who has kernels of GPUs by name has those for narrow weights where it has any in fp4.
  const bool has_fp4 = habits.has_fp8 && (!habits.is_of_gpus || habits.has_narrow_weights);
  if ((gemm == Precision::fp8 && !habits.has_fp8) || (gemm == Precision::fp4 && !has_fp4)) {
    return Misfit("precision.gemm", "is {}, whose kernels in {} are not known", at(precision_names, gemm),
                  scenario.software_name);
  }
  if (!scenario.model.has_experts()) return {};
  if (!habits.has_experts) {
    return Misfit("software", "is {}, whose models are dense, but '{}' has experts", scenario.software_name,
                  model);
  }
  if (!habits.graph_waits) return {};
  return Misfit("software.cuda_graph_scope",
                "has full_iteration, which holds no dispatch that the host waits for: expected "
                "moe_pad_expert_input_to_capacity, or flex with hybridep");
}

Fit fits_update(const Scenario& scenario) {
  if (scenario.habits().update_passes == UpdatePasses::one) return {};
  const UpdatePlan& plan = scenario.update;
  if (plan.has_master && plan.passes.size() == 1) return {};
  return Misfit(
             "software",
             "updates in separate passes, which are those of AdamW or SGD in one fused kernel on fp32 master "
             "weights, but {} of optimizer {} under {} are others",
             std::string_view(plan.has_master ? "the kernels" : "the weights"), scenario.words.optimizer,
             scenario.words.gradient_sync)
      .with_hint(scenario.software_name == "megatron_core"
                     ? "--set software.use_precision_aware_optimizer=true"
                 : scenario.software_name == "file" ? "--set software.update_passes=one"
                                                    : "--set 'optimizer={}'");
}

Fit fits_offload(const Scenario& scenario) {
  if (!scenario.update.offloads || scenario.cluster->device.host_rate.count > 0) return {};
  return Misfit("optimizer.offload", "is true, but how fast {} copies to its host is not known",
                scenario.cluster->device.name)
      .with_hint("cluster.device.host_rate says so; configs/devices/h200.json has a measured one");
}

Fit fits_dropout(const Scenario& scenario) {
  if (!scenario.dropout || scenario.habits().has_dropout) return {};
  return Misfit("dropout", "is true, but the models of this software have none");
}

Fit fits_budget(const Scenario& scenario) {
  if (!scenario.budget || scenario.cluster->device.power) return {};
  const Budget& budget = *scenario.budget;
  const std::string_view key = budget.price_per_kwh > 0      ? "budget.price_per_kwh"
                               : budget.kg_per_kwh > 0       ? "budget.kg_per_kwh"
                               : budget.host_power.count > 0 ? "budget.host_power"
                               : budget.pue > 1              ? "budget.pue"
                                                             : "";
  if (key.empty()) return {};
  return Misfit(key, "counts energy, but what {} draws is not known: its device file has no part \"power\"",
                scenario.cluster->device.name)
      .with_hint("configs/devices/h200.json has one; budget.price_per_device_hour needs none");
}

Fit fits_clock(const Scenario& scenario) {
  if (!scenario.cluster->device.power || scenario.cost->follows_clock()) return {};
  return Misfit(
             "cost.table",
             "was measured without power, at clocks that are not told: its times do not follow the clock at "
             "which cluster.device.power holds the device")
      .with_hint("moesim calibrate measures power too; or leave out cluster.device.power");
}

/// Each token may be sent, or a place kept for it, to each expert, and gathered by the ranks that share an
/// expert's matrices.
Fit fits_rows(const Scenario& scenario) {
  constexpr double most = 1e16;
  for (const Layer& layer : scenario.model.layers) {
    if (!layer.is_moe) continue;
    const double rows = static_cast<double>(tokens_per_device(scenario)) *
                        static_cast<double>(layer.experts.count) *
                        static_cast<double>(scenario.layout.sizes().expert_tensor);
    if (rows > most) {
      return Misfit("batch.microbatch", "comes to {:.2g} rows of experts, expected at most {:.2g}", rows,
                    most);
    }
  }
  return {};
}

Fit fits_tasks(const Scenario& scenario) {
  const double ranks = static_cast<double>(fold_of(scenario, Loading::as_routed).count);
  return limits_tasks(ranks, scenario.microbatches(), scenario.model, buckets(scenario));
}

}  // namespace moesim
