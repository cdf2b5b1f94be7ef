#include "sim/read/precision.hpp"

#include "models/base/at.hpp"

namespace moesim {
namespace {

constexpr std::string_view gemm_key = "precision.gemm", parameters_key = "precision.parameters",
                           copies_key = "precision.weight_copies",
                           start_key = "precision.num_layers_at_start_in_bf16",
                           end_key = "precision.num_layers_at_end_in_bf16";

bool is_narrow(const PrecisionPlan& precision) {
  return precision.gemm == Precision::fp8 || precision.gemm == Precision::fp4;
}

Fit fits_products(const Scenario& scenario) {
  const Device& device = scenario.cluster->device;
  if (scenario.precision.gemm != Precision::fp4) return {};
  if (device.gemm_in(Precision::fp4).peak.count == 0) {
    return Misfit(gemm_key, "is fp4, but {} has no products in it: its file gives none under gemm.fp4",
                  device.name)
        .with_hint("configs/devices/b200.json and gb200.json have them");
  }
  return {};
}

/// core/transformer/transformer_config.py, __post_init__: first_last_layers_bf16.
Fit fits_bf16_layers(const Scenario& scenario) {
  const PrecisionPlan& precision = scenario.precision;
  if (precision.bf16_at_start + precision.bf16_at_end == 0) return {};
  const std::string_view key = precision.bf16_at_start > 0 ? start_key : end_key;
  const std::int64_t given = precision.bf16_at_start > 0 ? precision.bf16_at_start : precision.bf16_at_end;
  if (!is_narrow(precision))
    return Misfit(key, "is {}, but products are in {}", given, at(precision_names, precision.gemm));
  const std::int64_t layers = std::ssize(scenario.model.layers) - scenario.model.prediction_layers;
  if (precision.bf16_at_start + precision.bf16_at_end > layers) {
    return Misfit(key, "is {}, and both ends come to {}, expected at most the {} layers of the model", given,
                  precision.bf16_at_start + precision.bf16_at_end, layers);
  }
  const bool is_delayed =
      scenario.software_name == "megatron_core" && scenario.habits().recipe == Fp8Recipe::delayed;
  if (precision.gemm == Precision::fp8 && is_delayed) {
    return Misfit(key, "is {}, which delayed scaling does not go with", given)
        .with_hint("--set software.fp8_recipe=blockwise");
  }
  return {};
}

Fit fits_weights(const Scenario& scenario) {
  const PrecisionPlan& precision = scenario.precision;
  const bool are_fp8 = precision.parameters == Precision::fp8;
  if (!are_fp8 && !precision.weight_copies) return {};
  const std::string_view key = are_fp8 ? parameters_key : copies_key;
  const std::string_view value = are_fp8 ? "fp8" : "true";
  if (are_fp8 && precision.weight_copies)
    return Misfit(copies_key, "is true, but parameters are in fp8 and have no copies");
  if (are_fp8 ? precision.gemm != Precision::fp8 : !is_narrow(precision))
    return Misfit(key, "is {}, but products are in {}", value, at(precision_names, precision.gemm));
  if (!scenario.habits().has_narrow_weights)
    return Misfit(key, "is {}, which is known of software megatron_core only", value);
  if (Fit fit = fits_narrow_weights(precision, scenario.gradient_sync)) return fit;
  // megatron/training/arguments.py, validate_args.
  if (are_fp8 && scenario.update.offloads && scenario.habits().recipe != Fp8Recipe::delayed)
    return Misfit(key, "is fp8, which optimizer.offload goes with for fp8_recipe delayed only");
  return {};
}

}  // namespace

Fit fits_narrow_weights(const PrecisionPlan& precision, const GradientPlan& plan) {
  const bool are_fp8 = precision.parameters == Precision::fp8;
  if (are_fp8 && (plan.updater != Updater::owner || plan.shards_parameters)) {
    return Misfit(parameters_key,
                  "is fp8, expected gradient_sync zero1 or zero2, whose ranks cast what they "
                  "have updated and gather the rest");
  }
  if (precision.weight_copies && plan.shards_parameters)
    return Misfit(copies_key, "is true, but sharded parameters are cast whenever they have been gathered");
  return {};
}

Fit fits_precision(const Scenario& scenario) {
  if (Fit fit = fits_products(scenario)) return fit;
  if (Fit fit = fits_bf16_layers(scenario)) return fit;
  return fits_weights(scenario);
}

}  // namespace moesim
