#include "sim/read/recompute.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>

#include "models/base/at.hpp"
#include "sim/work/work.hpp"

namespace moesim {
namespace {

constexpr std::string_view key = "recompute";

struct Part {
  std::string_view name;
  bool Recompute::*flag;
};
/// The modules of Megatron-Core that have another name here stand behind it.
constexpr Part parts[] = {{"full", &Recompute::full},
                          {"norm", &Recompute::norm},
                          {"activation", &Recompute::activation},
                          {"latent", &Recompute::latent},
                          {"attention", &Recompute::attention},
                          {"experts", &Recompute::experts},
                          {"layernorm", &Recompute::layernorm},
                          {"moe_act", &Recompute::moe_act},
                          {"mlp", &Recompute::mlp},
                          {"moe", &Recompute::moe},
                          {"shared_experts", &Recompute::shared_experts},
                          {"core_attn", &Recompute::attention},
                          {"mla_up_proj", &Recompute::latent}};

constexpr std::array<std::string_view, 7> modules{"core_attn", "moe_act", "layernorm",     "mla_up_proj",
                                                  "mlp",       "moe",     "shared_experts"};
constexpr std::array<std::string_view, 2> granularities{"full", "selective"}, methods{"uniform", "block"};
constexpr std::int64_t most_layers = 100'000;

bool Recompute::*flag_of(std::string_view name) {
  const auto* const found =
      std::find_if(std::begin(parts), std::end(parts), [&](const Part& part) { return part.name == name; });
  return found == std::end(parts) ? nullptr : found->flag;
}

/// "block=4": so many layers.
std::optional<Recompute> by_layers(std::string_view text) {
  for (std::size_t i = 0; i < methods.size(); ++i) {
    if (!text.starts_with(methods[i]) || text.substr(methods[i].size(), 1) != "=") continue;
    const std::string_view number = text.substr(methods[i].size() + 1);
    Recompute recompute{.full = true, .method = i == 0 ? RecomputeMethod::uniform : RecomputeMethod::block};
    const char* const end = number.data() + number.size();
    const auto read = std::from_chars(number.data(), end, recompute.layers);
    const bool is_whole = read.ec == std::errc() && read.ptr == end && !number.empty();
    if (is_whole && recompute.layers >= 1 && recompute.layers <= most_layers) return recompute;
  }
  return std::nullopt;
}

Recompute from_names(Reader& reader) {
  Recompute recompute;
  for (const std::string& name :
       reader.texts({.name = key,
       .help = "computed again in backward instead of kept: full, norm, activation, latent, "
               "attention, experts; modules of Megatron-Core, core_attn, moe_act, layernorm, "
               "mla_up_proj, mlp, moe, shared_experts; by layers of a stage, uniform=N, block=N; or "
               "an object with Megatron-Core's arguments"})) {
    if (name == "none") continue;
    if (const std::optional<Recompute> layers = by_layers(name)) {
      if (recompute.full) reader.fail(key, fmt::format("names {} beside another for whole layers", name));
      recompute.full = true;
      recompute.method = layers->method;
      recompute.layers = layers->layers;
    } else if (bool Recompute::*flag = flag_of(name)) {
      recompute.*flag = true;
    } else {
      reader.fail(key, fmt::format("unknown '{}' (known: none, full, norm, activation, latent, attention, "
                                   "experts, {}, uniform=N, block=N)",
                                   name, fmt::join(modules, ", ")));
    }
  }
  if (recompute.method != RecomputeMethod::all && recompute.has_parts())
    reader.fail(key, "names parts of layers beside whole layers by their number: expected one of both");
  return recompute;
}

/// Which arguments go together: core/transformer/transformer_config.py, __post_init__.
void expect_full(const Reader& reader, bool has_method) {
  if (!has_method) reader.fail("method", "is missing, expected uniform or block with granularity full");
  if (!reader.has("layers")) reader.fail("layers", "is missing, expected how many with granularity full");
  if (reader.has("modules")) reader.fail("modules", "is given, but granularity is full: whole layers");
}

void expect_selective(const Reader& reader, bool has_method) {
  if (has_method) reader.fail("method", "is given, expected granularity full with it");
  if (reader.has("layers")) reader.fail("layers", "is given, expected granularity full with it");
}

}  // namespace

Recompute read_recompute_part(Reader reader) {
  const bool is_full =
      reader.choice(
          {.name = "granularity", .help = "whole layers, or modules of each", .fallback = "selective"},
          granularities) == 0;
  const bool has_method = reader.has("method");
  const bool is_block =
      reader.choice({.name = "method",
                     .help = "of whole layers: uniform, all of a stage in spans of so many, each from the "
                             "input of its first, or block, the first so many of each stage",
                     .fallback = "uniform"},
                    methods) == 1;
  Recompute recompute;
  recompute.layers = reader.integer({.name = "layers",
                                     .help = "of a span, or of a stage (--recompute-num-layers)",
                                     .fallback = 1,
                                     .at_least = 1,
                                     .at_most = most_layers});
  for (const std::string& name :
       reader.texts({.name = "modules",
       .help = "of each layer: core_attn, moe_act, layernorm, mla_up_proj, mlp, moe, shared_experts "
               "(not given: core_attn)"})) {
    if (std::find(modules.begin(), modules.end(), name) == modules.end())
      reader.fail("modules", fmt::format("unknown '{}' (known: {})", name, fmt::join(modules, ", ")));
    recompute.*flag_of(name) = true;
  }
  reader.finish();
  if (reader.is_describing()) return {};
  is_full ? expect_full(reader, has_method) : expect_selective(reader, has_method);
  if (is_full) {
    recompute.full = true;
    recompute.method = is_block ? RecomputeMethod::block : RecomputeMethod::uniform;
    return recompute;
  }
  recompute.layers = 0;
  if (!reader.has("modules")) recompute.attention = true;
  return recompute;
}

Recompute read_recompute(Reader& reader) {
  const Value* given = reader.is_describing() ? nullptr : reader.value().find(key);
  if (given == nullptr || given->kind != Value::Kind::object) return from_names(reader);
  return read_recompute_part(reader.part(key, "what is computed again in backward instead of kept"));
}

std::vector<std::string> names_of(const Recompute& recompute) {
  std::vector<std::string> names;
  if (recompute.method != RecomputeMethod::all) {
    names.push_back(
        fmt::format("{}={}", methods[recompute.method == RecomputeMethod::block ? 1 : 0], recompute.layers));
    return names;
  }
  const std::size_t own = std::size(parts) - 2;  // without second names
  for (std::size_t i = 0; i < own; ++i)
    if (recompute.*parts[i].flag) names.emplace_back(parts[i].name);
  if (names.empty()) names.emplace_back("none");
  return names;
}

Fit recomputes_as(const SoftwareHabits& habits, const Recompute& chosen) {
  if (habits.recomputes_parts || chosen.full || !chosen.has_parts()) return {};
  return Misfit(key, "names parts of layers, but this software recomputes whole layers or nothing")
      .with_hint("--set recompute=full or --set recompute=[]");
}

namespace {

/// core/transformer/transformer_config.py, __post_init__.
Fit fits_megatron(const Scenario& scenario) {
  const Recompute& recompute = scenario.recompute;
  const bool is_delayed = scenario.habits().recipe == Fp8Recipe::delayed;
  if (scenario.precision.gemm == Precision::fp8 && is_delayed && (recompute.moe_act || recompute.layernorm)) {
    return Misfit(key, "names {}, which delayed scaling does not go with",
                  std::string_view(recompute.moe_act ? "moe_act" : "layernorm"))
        .with_hint("--set software.fp8_recipe=blockwise");
  }
  if (recompute.moe_act && !scenario.habits().groups_experts)
    return Misfit(key, "names moe_act, expected software.moe_grouped_gemm with it");
  return {};
}

}  // namespace

Fit fits_recompute(const Scenario& scenario) {
  const Recompute& recompute = scenario.recompute;
  if (Fit fit = recomputes_as(scenario.habits(), recompute)) return fit;
  const auto lacks = [&](auto has) {
    return std::none_of(scenario.model.layers.begin(), scenario.model.layers.end(), has);
  };
  const std::string& name = scenario.model.name;
  if (recompute.latent && lacks([](const Layer& layer) { return layer.attention.is_latent(); }))
    return Misfit(key, "names latent, but the model '{}' has no latent attention", name);
  const bool lacks_experts = lacks([](const Layer& layer) { return layer.is_moe; });
  for (const std::string_view part : {"experts", "moe", "moe_act"}) {
    if (recompute.*flag_of(part) && lacks_experts)
      return Misfit(key, "names {}, but the model '{}' has none", part, name);
  }
  if (recompute.shared_experts && lacks([](const Layer& layer) { return layer.experts.shared_width > 0; }))
    return Misfit(key, "names shared_experts, but the model '{}' has none", name);
  if (recompute.mlp && lacks([](const Layer& layer) { return !layer.is_moe; }))
    return Misfit(key, "names mlp, but the model '{}' has no dense feed-forward", name);
  if (recompute.shared_experts && scenario.collectives.shared_experts == SharedExperts::beside)
    return Misfit(key, "names shared_experts, expected collectives.shared_experts in_turn with it");
  return scenario.software_name == "megatron_core" ? fits_megatron(scenario) : Fit{};
}

namespace {

/// The same file: overlap_moe_expert_parallel_comm.
Fit fits_pairs(const Scenario& scenario) {
  const Recompute& recompute = scenario.recompute;
  const bool is_asked = recompute.method != RecomputeMethod::all || recompute.moe;
  if (!is_asked || scenario.software_name != "megatron_core") return {};
  for (const std::vector<Slot>& slots : scenario.schedule->order(shape_of_pipeline(scenario)).ranks) {
    if (std::any_of(slots.begin(), slots.end(), [](const Slot& slot) { return slot.overlapped; }))
      return Misfit(key, "has {}, which Megatron-Core does not overlap with other passes as schedule {} does",
                    names_of(recompute).front(), scenario.words.schedule);
  }
  return {};
}

}  // namespace

Fit fits_recomputed_layers(const Scenario& scenario) {
  const Recompute& recompute = scenario.recompute;
  if (Fit fit = fits_pairs(scenario)) return fit;
  if (recompute.method == RecomputeMethod::all) return {};
  const std::int64_t most =
      *std::max_element(scenario.layers_per_stage.begin(), scenario.layers_per_stage.end());
  if (recompute.layers <= most) return {};
  return Misfit(key, "has {} layers, expected at most the {} of a stage", recompute.layers, most);
}

}  // namespace moesim
