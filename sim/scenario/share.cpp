#include "sim/scenario/share.hpp"

#include <cmath>

namespace moesim {

Share share_of(const Scenario& scenario) {
  Share share;
  share.sequences = scenario.batch.microbatch;
  share.sequence_length = scenario.batch.sequence_length;
  share.tensor = scenario.layout.sizes().tensor;
  share.context = scenario.layout.sizes().context;
  share.context_exchange = scenario.context_exchange;
  share.sequence_parallel = scenario.divides_tokens();
  share.dropout = scenario.dropout;
  share.expert_tensor = scenario.layout.sizes().expert_tensor;
  share.gemm = scenario.precision.gemm;
  share.dispatch = scenario.precision.dispatch;
  return share;
}

std::int64_t tokens_per_device(const Scenario& scenario) {
  const Sizes& sizes = scenario.layout.sizes();
  const std::int64_t parts = sizes.context * (scenario.divides_tokens() ? sizes.tensor : 1);
  return scenario.batch.microbatch * scenario.batch.sequence_length / parts;
}

std::vector<double> paces_of(const Scenario& scenario) {
  const Sizes& sizes = scenario.layout.sizes();
  return largest_of_groups(scenario.cluster->device.spread, sizes.pipeline, sizes.stage_devices());
}

Gate gate_of(const Experts& experts) {
  return {.experts = experts.count,
          .top_k = experts.top_k,
          .groups = experts.groups,
          .chosen_groups = experts.chosen_groups};
}

std::int64_t padded_capacity(const Scenario& scenario, const Layer& layer) {
  if (!layer.is_moe) return 0;
  return scenario.router.routing->capacity(gate_of(layer.experts), tokens_per_device(scenario));
}

std::int64_t dispatched_rows(const Scenario& scenario, std::size_t layer) {
  const Layer& shape = scenario.model.layers[layer];
  if (!shape.is_moe) return 0;
  if (scenario.loads) return scenario.loads->mean_rows(static_cast<std::int64_t>(layer));
  const std::int64_t capacity = padded_capacity(scenario, shape);
  return capacity > 0 ? capacity * shape.experts.count : tokens_per_device(scenario) * shape.experts.top_k;
}

std::int64_t gathered_groups(const Scenario& scenario) {
  // Where a tensor group holds the same tokens it shares experts, too, and its ranks get the same rows.
  return scenario.divides_tokens() ? scenario.layout.sizes().expert_tensor : 1;
}

std::int64_t computed_rows(const Scenario& scenario, std::size_t layer) {
  return dispatched_rows(scenario, layer) * gathered_groups(scenario);
}

std::vector<std::int64_t> expert_rows(const Scenario& scenario, std::size_t layer) {
  const Layer& shape = scenario.model.layers[layer];
  if (!shape.is_moe) return {};
  const std::int64_t local = scenario.slots_per_rank(shape.experts);
  const auto mean = static_cast<double>(computed_rows(scenario, layer));
  const std::int64_t arriving = std::llround(mean * scenario.busiest_over_mean());
  std::vector<std::int64_t> rows(static_cast<std::size_t>(local), arriving / local);
  for (std::int64_t i = 0; i < arriving % local; ++i) ++rows[static_cast<std::size_t>(i)];
  return rows;
}

Bytes row_bytes(std::int64_t hidden, Precision precision) {
  const Bytes plain = size_of(precision) * hidden;
  return precision == Precision::fp8 ? scaled(plain, 1.0 + 4.0 / 128.0) : plain;
}

Bytes keys_and_values(const Op& core, const Scenario& scenario) {
  const std::int64_t tokens = share_of(scenario).tokens();
  return size_of(Precision::bf16) * (tokens * core.kv_heads * (core.head_dim + core.value_head_dim));
}

LayerOps ops_of_layer(const Scenario& scenario, std::size_t layer) {
  const std::vector<std::int64_t> rows = expert_rows(scenario, layer);
  Share share = share_of(scenario);
  share.expert_rows = rows;
  share.dispatched_rows = dispatched_rows(scenario, layer);
  return lower_layer(scenario.model, layer, share, scenario.recompute);
}

std::vector<std::size_t> first_of_shape(const Model& model) {
  const auto predicts = [&](std::size_t layer) {
    return layer + static_cast<std::size_t>(model.prediction_layers) >= model.layers.size();
  };
  std::vector<std::size_t> first;
  for (std::size_t layer = 0; layer < model.layers.size(); ++layer) {
    std::size_t same = 0;
    while (predicts(same) != predicts(layer) || !(model.layers[same] == model.layers[layer])) ++same;
    first.push_back(same);
  }
  return first;
}

}  // namespace moesim
