#include "sim/read/rules.hpp"

#include <algorithm>

#include "sim/work/fold.hpp"

namespace moesim {
namespace {

constexpr std::int64_t most_microbatches = 1'000'000;
constexpr std::int64_t most_tokens = 1'000'000'000;

}  // namespace

Fit divides_devices(std::int64_t devices, const Sizes& sizes) {
  const std::int64_t product = sizes.pipeline * sizes.tensor * sizes.context;
  if (devices % product == 0) return {};
  if (sizes.context == 1) {
    return Misfit("parallelism", "{} devices do not divide by pipeline {} x tensor {} = {}", devices,
                  sizes.pipeline, sizes.tensor, product);
  }
  return Misfit("parallelism", "{} devices do not divide by pipeline {} x tensor {} x context {} = {}",
                devices, sizes.pipeline, sizes.tensor, sizes.context, product);
}

Fit divides_stage(const Sizes& sizes) {
  const std::int64_t devices = sizes.stage_devices();
  const std::int64_t experts = sizes.expert * sizes.expert_tensor;
  if (devices % experts == 0) return {};
  constexpr std::string_view key = "parallelism.expert";
  if (sizes.expert_tensor == 1)
    return Misfit(key, "{} devices of a pipeline rank do not divide by expert {}", devices, experts);
  return Misfit(key, "{} devices of a pipeline rank do not divide by expert {} x expert_tensor {} = {}",
                devices, sizes.expert, sizes.expert_tensor, experts);
}

Fit divides_heads(const Model& model, const Sizes& sizes) {
  for (const Layer& layer : model.layers) {
    if (layer.attention.heads % sizes.tensor == 0) continue;
    return Misfit("parallelism.tensor", "{} attention heads do not divide by tensor {}",
                  layer.attention.heads, sizes.tensor);
  }
  return {};
}

Fit divides_columns(const Model& model, const Sizes& sizes) {
  for (const Layer& layer : model.layers) {
    if (!layer.is_moe || layer.experts.width % sizes.expert_tensor == 0) continue;
    return Misfit("parallelism.expert_tensor", "{} columns of an expert do not divide by expert_tensor {}",
                  layer.experts.width, sizes.expert_tensor);
  }
  return {};
}

Fit has_experts_to_spread(const Model& model, const Sizes& sizes) {
  const bool spreads = sizes.expert > 1 || sizes.expert_tensor > 1;
  if (!spreads || model.has_experts()) return {};
  const bool whole = sizes.expert > 1;
  return Misfit(whole ? "parallelism.expert" : "parallelism.expert_tensor",
                "is {}, but the model '{}' has no experts", whole ? sizes.expert : sizes.expert_tensor,
                model.name);
}

Fit divides_slots(const Model& model, std::int64_t redundant, const Sizes& sizes) {
  for (const Layer& layer : model.layers) {
    const std::int64_t experts = layer.experts.count;
    if (!layer.is_moe || (experts + redundant) % sizes.expert == 0) continue;
    if (redundant == 0)
      return Misfit("parallelism.expert", "{} experts do not divide by expert {}", experts, sizes.expert);
    return Misfit("routing.redundant", "{} experts + {} redundant = {} slots do not divide by expert {}",
                  experts, redundant, experts + redundant, sizes.expert);
  }
  return {};
}

Fit divides_sequences(const Batch& batch, const Sizes& sizes) {
  const std::int64_t at_once = sizes.data * batch.microbatch;
  if (batch.sequences % at_once == 0) return {};
  return Misfit("batch.sequences", "{} sequences do not divide by data-parallel {} x microbatch {} = {}",
                batch.sequences, sizes.data, batch.microbatch, at_once);
}

Fit divides_tokens_of(const Batch& batch, const Sizes& sizes) {
  if (batch.target_length > 0 && (sizes.pipeline > 1 || sizes.context > 1)) {
    return Misfit("batch.target_length",
                  "is {}, expected neither pipeline {} nor context {}: stages and ranks would differ",
                  batch.target_length, sizes.pipeline, sizes.context);
  }
  // Zigzag gives each context rank two pieces of a sequence, one from either end.
  const std::int64_t pieces = sizes.tensor * (sizes.context > 1 ? 2 * sizes.context : 1);
  if (batch.sequence_length % pieces == 0) return {};
  constexpr std::string_view key = "batch.sequence_length";
  if (sizes.context == 1)
    return Misfit(key, "{} tokens do not divide by tensor {}", batch.sequence_length, pieces);
  return Misfit(key, "{} tokens do not divide by tensor {} x 2 x context {} = {}", batch.sequence_length,
                sizes.tensor, sizes.context, pieces);
}

Fit fits_groups(const Scenario& scenario, const Layout& layout) {
  if (std::optional<std::string> misfit = layout.misfit())
    return Misfit("parallelism.placement", "{}", *misfit);
  const Sizes& sizes = layout.sizes();
  if (scenario.divides_tokens(sizes) || !scenario.model.has_experts()) return {};
  if (sizes.expert_tensor != sizes.tensor) {
    return Misfit("parallelism.expert_tensor",
                  "is {}, expected {} as tensor: without sequence_parallel all ranks of a tensor group have "
                  "the same tokens",
                  sizes.expert_tensor, sizes.tensor);
  }
  if (layout.expert_tensor_groups() == layout.tensor_groups()) return {};
  return Misfit("parallelism.placement",
                "puts other devices into a group of expert_tensor than into one of tensor, which hold the "
                "same tokens without sequence_parallel");
}

Fit limits_tokens(const Batch& batch) {
  const std::int64_t longest = std::max(batch.sequence_length, batch.decoder_length());
  if (batch.microbatch <= most_tokens / longest) return {};
  return Misfit("batch.microbatch", "is {} sequences of {} tokens, expected at most {} tokens together",
                batch.microbatch, longest, most_tokens);
}

Fit limits_microbatches(const Batch& batch, const Sizes& sizes) {
  const std::int64_t count = batch.sequences / (sizes.data * batch.microbatch);
  if (count <= most_microbatches) return {};
  return Misfit("batch.sequences", "come to {} microbatches of a data-parallel rank, expected at most {}",
                count, most_microbatches);
}

Fit limits_tasks(double ranks, std::int64_t microbatches, const Model& model, double others) {
  const double passes = 10.0 * static_cast<double>(microbatches) * static_cast<double>(model.layers.size());
  const double tasks = ranks * (passes + others);
  if (tasks <= most_tasks) return {};
  return Misfit("batch.sequences", "come to about {:.2g} tasks ({} microbatches), expected at most {:.2g}",
                tasks, microbatches, most_tasks);
}

}  // namespace moesim
