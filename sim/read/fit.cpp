#include "sim/read/fit.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "models/base/error.hpp"
#include "sim/read/switch_layout.hpp"
#include "sim/work/fold.hpp"
#include "sim/work/holdings.hpp"
#include "sim/work/share.hpp"

namespace moesim {
namespace {

/// As many as a tag of a task can number.
constexpr std::int64_t most_ranks = 30'000;

[[noreturn]] void does_not_divide(const Reader& reader, std::string_view key, std::string_view what,
                                  std::int64_t whole, std::string_view by, std::int64_t parts) {
  reader.fail(key, fmt::format("{} {} do not divide by {} {}", whole, what, by, parts));
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
    if (size == 1 || model.has_experts()) continue;
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
  if (scenario.divides_tokens() || !scenario.model.has_experts()) return;
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

/// A list of layers for each stage that a user can take over: as even as it goes.
std::string even_split(std::int64_t layers, std::int64_t stages) {
  std::vector<std::int64_t> split(static_cast<std::size_t>(stages), layers / stages);
  for (std::int64_t i = 0; i < layers % stages; ++i) ++split[static_cast<std::size_t>(i)];
  return fmt::format("--set parallelism.layers_per_stage=[{}]", fmt::join(split, ","));
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
  if (parallelism.sizes.pipeline > most_ranks) {
    reader.fail("parallelism.pipeline",
                fmt::format("is {}, expected at most {}", parallelism.sizes.pipeline, most_ranks));
  }
  if (devices % parallelism.sizes.pipeline == 0) {
    apply_layout(reader, devices / parallelism.sizes.pipeline, scenario.model.has_experts(), parallelism);
  }
  fit_devices(reader, devices, parallelism.sizes);
  fit_model(reader, scenario.model, parallelism.sizes);
  fit_batch(reader, scenario.batch, parallelism.sizes);
  scenario.layout = Layout(parallelism.sizes, parallelism.placement);
  scenario.sequence_parallel = parallelism.sequence_parallel;
  scenario.context_exchange = parallelism.context_exchange;
  fit_groups(reader, scenario);
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

}  // namespace moesim
