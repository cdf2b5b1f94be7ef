#include "sim/read/offload.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "models/base/at.hpp"
#include "models/config/fields.hpp"

namespace moesim {
namespace {

constexpr std::string_view module_key = "offload.modules", layers_key = "offload.layers";

std::string names_of(const Offload& offload) {
  std::string names;
  for (std::size_t i = 0; i < offload_module_names.size(); ++i) {
    if (offload.modules[i]) names += fmt::format("{}{}", names.empty() ? "" : "+", offload_module_names[i]);
  }
  return names;
}

void read_modules(Reader& reader, Offload& offload) {
  for (const std::string& name :
       reader.texts({.name = "modules",
       .help = "whose inputs, with all that they keep, leave after the forward and come back "
               "before the backward: attn_norm, qkv_linear, core_attn, attn_proj, mlp_norm, "
               "expert_fc1, moe_act"})) {
    const auto found = std::find(offload_module_names.begin(), offload_module_names.end(), name);
    if (found == offload_module_names.end()) {
      reader.fail("modules",
                  fmt::format("unknown '{}' (known: {})", name, fmt::join(offload_module_names, ", ")));
    }
    offload.modules[static_cast<std::size_t>(found - offload_module_names.begin())] = true;
  }
}

/// core/transformer/transformer_config.py: cpu_offloading.
Fit fits_layers(const Scenario& scenario) {
  const std::int64_t layers = std::ssize(scenario.model.layers);
  const std::int64_t given = scenario.offload.layers;
  if (scenario.offload.has_modules())
    return Misfit(layers_key, "is {}, expected 0: offload.modules names parts of layers", given);
  if (given >= layers)
    return Misfit(layers_key, "is {}, expected less than the {} layers of the model", given, layers);
  if (scenario.layout.sizes().pipeline > 1) {
    return Misfit(layers_key, "is {}, but parallelism.pipeline is {}: whole layers go to the host without",
                  given, scenario.layout.sizes().pipeline)
        .with_hint("offload.modules goes with pipelines");
  }
  return {};
}

/// What modules of those are computed again, and by which of recompute.
std::string_view again_by(const Recompute& recompute, const Offload& offload) {
  const bool in_experts = offload.takes(OffloadModule::expert_fc1) || offload.takes(OffloadModule::moe_act);
  if (recompute.full) return "full";
  if (recompute.experts && in_experts) return "experts";
  if (recompute.moe && in_experts) return "moe";
  return recompute.attention && offload.takes(OffloadModule::core_attn) ? "attention" : "";
}

Fit fits_modules(const Scenario& scenario) {
  const Offload& offload = scenario.offload;
  const std::string names = names_of(offload);
  const auto& layers = scenario.model.layers;
  if (offload.takes(OffloadModule::attn_proj) && !offload.takes(OffloadModule::core_attn)) {
    return Misfit(module_key, "names attn_proj, expected core_attn with it, whose backward reads the same")
        .with_hint("--set 'offload.modules=[\"core_attn\", \"attn_proj\"]'");
  }
  const bool in_experts = offload.takes(OffloadModule::expert_fc1) || offload.takes(OffloadModule::moe_act);
  if (in_experts && std::none_of(layers.begin(), layers.end(), [](const Layer& l) { return l.is_moe; }))
    return Misfit(module_key, "is {}, but the model '{}' has no experts", names, scenario.model.name);
  return {};
}

}  // namespace

Offload read_offload(Reader reader) {
  Offload offload;
  read_modules(reader, offload);
  read_fields(
      reader, offload,
      field(&Offload::layers,
            {.name = "layers",
             .help = "of the model, the first ones, of which all leaves that they keep; without "
                     "pipeline parallelism and recomputation",
             .fallback = 0,
             .at_least = 0,
             .at_most = 100'000}),
      field(&Offload::least_elements, {.name = "least_elements",
                                       .help = "of a tensor of a module that leaves; smaller ones stay",
                                       .fallback = std::int64_t{1024} * 1024,
                                       .at_least = 0,
                                       .at_most = std::int64_t{1} << 40}));
  reader.finish();
  return offload;
}

std::string offload_words(const Offload& offload) {
  return offload.layers > 0 ? fmt::format("{} layers", offload.layers) : names_of(offload);
}

Fit recomputes_beside(const Offload& offload, const Recompute& recompute) {
  if (offload.layers > 0 && !recompute.is_none()) {
    return Misfit(layers_key, "is {}, but recompute is given: whole layers go to the host without",
                  offload.layers)
        .with_hint("offload.modules goes with the recomputation of others");
  }
  const std::string_view again = again_by(recompute, offload);
  if (again.empty() || !offload.has_modules()) return {};
  return Misfit(module_key, "is {}, but recompute has {}: what is computed again is not kept",
                names_of(offload), again);
}

Fit fits_activation_offload(const Scenario& scenario) {
  const Offload& offload = scenario.offload;
  if (offload.is_none()) return {};
  const std::string_view key = offload.layers > 0 ? layers_key : module_key;
  if (scenario.cluster->device.host_rate.count == 0) {
    return Misfit(key, "is given, but how fast {} copies to its host is not known",
                  scenario.cluster->device.name)
        .with_hint("cluster.device.host_rate says so; configs/devices/h200.json has a measured one");
  }
  if (Fit fit = recomputes_beside(offload, scenario.recompute)) return fit;
  return offload.layers > 0 ? fits_layers(scenario) : fits_modules(scenario);
}

}  // namespace moesim
