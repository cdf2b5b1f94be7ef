#include "sim/work/share.hpp"

#include <cmath>

#include "models/base/at.hpp"
#include "sim/work/expert_loads.hpp"

namespace moesim {

namespace {

/// Tokens of a sequence in a layer.
std::int64_t length_in(const Scenario& scenario, std::size_t layer) {
  return scenario.model.is_encoder(layer) ? scenario.batch.sequence_length : scenario.batch.decoder_length();
}

std::int64_t tokens_of(const Scenario& scenario, std::int64_t length) {
  const Sizes& sizes = scenario.layout.sizes();
  const std::int64_t parts = sizes.context * (scenario.divides_tokens() ? sizes.tensor : 1);
  return scenario.batch.microbatch * length / parts;
}

}  // namespace

Share share_of(const Scenario& scenario) {
  Share share;
  share.sequences = scenario.batch.microbatch;
  share.sequence_length = scenario.batch.decoder_length();
  share.source_length = scenario.model.encoder_layers > 0 ? scenario.batch.sequence_length : 0;
  share.tensor = scenario.layout.sizes().tensor;
  share.context = scenario.layout.sizes().context;
  share.context_exchange = scenario.context_exchange;
  share.sequence_parallel = scenario.divides_tokens();
  share.dropout = scenario.dropout;
  share.expert_tensor = scenario.layout.sizes().expert_tensor;
  share.gemm = scenario.precision.gemm;
  share.dispatch = scenario.precision.dispatch;
  share.offload = scenario.offload;
  if (scenario.software) {
    share.fusion = scenario.habits().fusion;
    share.keeping = scenario.software.get();
  }
  return share;
}

Share share_of(const Scenario& scenario, std::size_t layer) {
  Share share = share_of(scenario);
  share.sequence_length = length_in(scenario, layer);
  share.gemm = scenario.gemm_of(layer);
  if (scenario.model.is_encoder(layer)) share.source_length = 0;
  if (!scenario.model.layers[layer].is_moe) return share;
  share.gathered_tokens = gathered_tokens(scenario, layer);
  if (scenario.router.routing)
    share.token_group = scenario.router.routing->group(tokens_per_device(scenario, layer));
  return share;
}

std::int64_t tokens_per_device(const Scenario& scenario) {
  return tokens_of(scenario, scenario.batch.sequence_length);
}

std::int64_t tokens_per_device(const Scenario& scenario, std::size_t layer) {
  return tokens_of(scenario, length_in(scenario, layer));
}

std::int64_t gathered_tokens(const Scenario& scenario, std::size_t layer) {
  const std::int64_t ranks = scenario.layout.sizes().expert;
  if (ranks == 1 || scenario.collectives.token_exchange != TokenExchange::all_gather) return 0;
  return tokens_per_device(scenario, layer) * ranks * gathered_groups(scenario);
}

bool scatters_sends(const Scenario& scenario) {
  const Sizes& sizes = scenario.layout.sizes();
  return sizes.pipeline > 1 && sizes.tensor > 1 && !scenario.sequence_parallel &&
         scenario.collectives.stage_sends == StageSends::scattered;
}

Bytes sent_to_stage(const Scenario& scenario) {
  const std::int64_t elements = tokens_per_device(scenario) * scenario.model.hidden;
  const std::int64_t parts = scatters_sends(scenario) ? scenario.layout.sizes().tensor : 1;
  return size_of(Precision::bf16) * (elements / parts);
}

Bytes send_buffers(const Scenario& scenario) {
  if (scenario.layout.sizes().pipeline == 1) return {};
  const Bytes sent = sent_to_stage(scenario) * 4;
  if (!scatters_sends(scenario)) return sent;
  return sent + size_of(Precision::bf16) * (2 * tokens_per_device(scenario) * scenario.model.hidden);
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

std::int64_t padded_capacity(const Scenario& scenario, std::size_t layer) {
  const Layer& shape = scenario.model.layers[layer];
  if (!shape.is_moe) return 0;
  return scenario.router.routing->capacity(gate_of(shape.experts), tokens_per_device(scenario, layer));
}

double kept_choices(const Scenario& scenario, std::size_t layer) {
  const Experts& experts = scenario.model.layers[layer].experts;
  return scenario.router.routing->kept(gate_of(experts), scenario.layout.sizes().expert,
                                       tokens_per_device(scenario, layer));
}

std::int64_t dispatched_rows(const Scenario& scenario, std::size_t layer, const ExpertLoads* loads) {
  const Layer& shape = scenario.model.layers[layer];
  if (!shape.is_moe) return 0;
  if (loads != nullptr) return loads->mean_rows(static_cast<std::int64_t>(layer));
  const std::int64_t capacity = padded_capacity(scenario, layer);
  if (capacity > 0) return capacity * shape.experts.count;
  const std::int64_t choices = tokens_per_device(scenario, layer) * shape.experts.top_k;
  return std::llround(static_cast<double>(choices) * kept_choices(scenario, layer));
}

std::int64_t gathered_groups(const Scenario& scenario) {
  // Where a tensor group holds the same tokens it shares experts, too, and its ranks get the same rows.
  return scenario.divides_tokens() ? scenario.layout.sizes().expert_tensor : 1;
}

std::int64_t computed_rows(const Scenario& scenario, std::size_t layer, const ExpertLoads* loads) {
  return dispatched_rows(scenario, layer, loads) * gathered_groups(scenario);
}

/// Where a rank has every expert once: the loads of the first microbatch.
std::vector<std::int64_t> rows_of_only_rank(const Scenario& scenario, std::size_t layer,
                                            const ExpertLoads& loads) {
  std::vector<std::int64_t> rows =
      loads.counts(loads.number_of(static_cast<std::int64_t>(layer), 0, 0)).of_experts;
  for (std::int64_t& of_expert : rows) of_expert *= gathered_groups(scenario);
  return rows;
}

std::vector<std::int64_t> expert_rows(const Scenario& scenario, std::size_t layer, const ExpertLoads* loads) {
  const Layer& shape = scenario.model.layers[layer];
  if (!shape.is_moe) return {};
  const std::int64_t local = scenario.slots_per_rank(shape.experts);
  if (loads != nullptr && scenario.layout.sizes().expert == 1 && local == shape.experts.count)
    return rows_of_only_rank(scenario, layer, *loads);
  const auto mean = static_cast<double>(computed_rows(scenario, layer, loads));
  const std::int64_t arriving = std::llround(mean * scenario.busiest_over_mean());
  std::vector<std::int64_t> rows(static_cast<std::size_t>(local), arriving / local);
  for (std::int64_t i = 0; i < arriving % local; ++i) ++at(rows, i);
  return rows;
}

Bytes row_bytes(std::int64_t hidden, Precision precision) {
  const Bytes plain = size_of(precision) * hidden;
  return precision == Precision::fp8 ? scaled(plain, 1.0 + 4.0 / 128.0) : plain;
}

Bytes keys_and_values(const Op& core, const Scenario& scenario) {
  const std::int64_t tokens = share_of(scenario).tokens();
  return size_of(Precision::bf16) * tokens * core.kv_heads * (core.head_dim + core.value_head_dim);
}

LayerOps ops_of_layer(const Scenario& scenario, std::size_t layer, const ExpertLoads* loads) {
  const std::vector<std::int64_t> rows = expert_rows(scenario, layer, loads);
  Share share = share_of(scenario, layer);
  share.expert_rows = rows;
  share.dispatched_rows = dispatched_rows(scenario, layer, loads);
  return lower_layer(scenario.model, layer, share, scenario.recompute_of(layer));
}

BlockOps shared_experts_of_layer(const Scenario& scenario, std::size_t layer) {
  if (!scenario.model.layers[layer].is_moe) return {};
  const std::vector<std::int64_t> rows = expert_rows(scenario, layer);
  Share share = share_of(scenario, layer);
  share.expert_rows = rows;
  return lower_shared_experts(scenario.model, layer, share, scenario.recompute_of(layer));
}

Kept kept_of(const BlockOps& ops) {
  return {.for_backward = ops.activations - ops.offloaded,
          .for_weight = ops.for_weight,
          .again = ops.again,
          .in_forward = ops.in_forward,
          .in_backward = ops.in_backward,
          .offloaded = ops.offloaded,
          .recomputed = ops.recomputed};
}

Kept kept_by_embedding(const Scenario& scenario) {
  return kept_of(lower_embedding(scenario.model, share_of(scenario)));
}

Kept kept_by_head(const Scenario& scenario) {
  const Share share = share_of(scenario);
  Kept kept = kept_of(lower_head(scenario.model, share, scenario.habits().fused_loss));
  const std::int64_t predictions = scenario.model.prediction_layers;
  const Kept embedding = kept_by_embedding(scenario);
  kept.for_backward = kept.for_backward * (1 + predictions) + embedding.for_backward * predictions;
  kept.for_weight = kept.for_weight * (1 + predictions) + embedding.for_weight * predictions;
  return kept;
}

double most_kept_for_weight(const Scenario& scenario, std::int64_t layers_of_stage) {
  double most = 0;
  Kept mean;
  const auto add = [&](const Kept& kept) {
    if (kept.for_backward.count > 0) most = std::max(most, kept.for_weight / kept.for_backward);
  };
  const std::vector<std::size_t> shape = first_of_shape(scenario);
  for (std::size_t layer = 0; layer < shape.size(); ++layer) {
    if (shape[layer] != layer) continue;
    const LayerOps ops = ops_of_layer(scenario, layer);
    Kept kept = kept_of(ops.attention);
    kept += kept_of(ops.feed_forward);
    add(kept);
    mean = kept;  // of the last shape, beside which the head stands
  }
  Kept stage{mean.for_backward * layers_of_stage, mean.for_weight * layers_of_stage};
  stage += kept_by_head(scenario);
  add(stage);
  return most;
}

namespace {

/// The first of the layers to each of which it is alike.
std::vector<std::size_t> first_alike(const Scenario& scenario, auto are_alike) {
  std::vector<std::size_t> first;
  for (std::size_t layer = 0; layer < scenario.model.layers.size(); ++layer) {
    std::size_t same = 0;
    while (!are_alike(same, layer)) ++same;
    first.push_back(same);
  }
  return first;
}

bool are_of_a_kind(const Scenario& scenario, std::size_t one, std::size_t other) {
  const Model& model = scenario.model;
  return model.is_prediction(one) == model.is_prediction(other) &&
         scenario.offload.takes_whole(one) == scenario.offload.takes_whole(other) &&
         scenario.gemm_of(one) == scenario.gemm_of(other) && model.layers[one] == model.layers[other];
}

}  // namespace

std::vector<std::size_t> first_of_kind(const Scenario& scenario) {
  return first_alike(scenario,
                     [&](std::size_t one, std::size_t other) { return are_of_a_kind(scenario, one, other); });
}

std::vector<std::size_t> first_of_shape(const Scenario& scenario) {
  if (!scenario.recompute.differs_by_place()) return first_of_kind(scenario);
  std::vector<Recompute> again;
  for (std::size_t layer = 0; layer < scenario.model.layers.size(); ++layer)
    again.push_back(scenario.recompute_of(layer));
  return first_alike(scenario, [&](std::size_t one, std::size_t other) {
    return again[one] == again[other] && are_of_a_kind(scenario, one, other);
  });
}

}  // namespace moesim
