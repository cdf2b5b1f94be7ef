// Device memory: what is held all the time, and what passes keep between forward and backward.
#include <algorithm>
#include <numeric>
#include <vector>

#include "sim/report/report.hpp"
#include "sim/scenario/holdings.hpp"
#include "sim/scenario/share.hpp"
#include "sim/schedule/stage.hpp"

namespace moesim {
namespace {

/// Activations of one microbatch in each model stage, and the working memory of its communication.
struct StageBytes {
  std::vector<Bytes> activations;  ///< without experts where ranks differ
  Bytes exchange;                  ///< rows that arrive for local experts, and as many on their way back
};

/// One of the ranks of an expert group.
struct ExpertPosition {
  std::int64_t group = 0, rank = 0;
};

Bytes exchange_buffer(const Scenario& scenario, std::size_t layer) {
  if (!scenario.model.layers[layer].is_moe || scenario.layout.sizes().expert == 1) return {};
  const std::vector<std::int64_t> per_expert = expert_rows(scenario, layer);
  const std::int64_t rows = scenario.loads
                                ? scenario.loads->most_rows()
                                : std::accumulate(per_expert.begin(), per_expert.end(), std::int64_t{0});
  return (row_bytes(scenario.model.hidden, scenario.precision.dispatch) +
          row_bytes(scenario.model.hidden, scenario.precision.combine)) *
         rows;
}

StageBytes bytes_of_stages(const Scenario& scenario) {
  const std::vector<std::size_t> shape = first_of_shape(scenario.model);
  std::vector<Bytes> of_layer(shape.size());
  StageBytes bytes;
  for (std::size_t layer = 0; layer < shape.size(); ++layer) {
    if (shape[layer] != layer) {
      of_layer[layer] = of_layer[shape[layer]];
      continue;
    }
    const LayerOps ops = ops_of_layer(scenario, layer);
    of_layer[layer] = ops.attention.activations;
    if (!scenario.loads || !scenario.model.layers[layer].is_moe)
      of_layer[layer] += ops.feed_forward.activations;
    bytes.exchange = std::max(bytes.exchange, exchange_buffer(scenario, layer));
  }
  const Share share = share_of(scenario);
  for (std::int64_t stage = 0; stage < scenario.order.model_stages(); ++stage) {
    Bytes sum;
    const std::int64_t first = scenario.first_layer(stage);
    const std::int64_t count = scenario.layers_per_stage[static_cast<std::size_t>(stage)];
    for (std::int64_t layer = first; layer < first + count; ++layer)
      sum += of_layer[static_cast<std::size_t>(layer)];
    if (stage == 0) sum += lower_embedding(scenario.model, share).activations;
    if (stage + 1 == scenario.order.model_stages()) {
      sum += lower_head(scenario.model, share, scenario.fused_loss).activations *
             (1 + scenario.model.prediction_layers);
    }
    bytes.activations.push_back(sum);
  }
  return bytes;
}

/// Activations of the experts of a stage, where ranks differ.
Bytes expert_activations(const Scenario& scenario, std::size_t stage, std::int64_t microbatch,
                         const ExpertPosition& position) {
  Bytes sum;
  if (!scenario.loads) return sum;
  const std::int64_t first = scenario.first_layer(static_cast<std::int64_t>(stage));
  for (std::int64_t layer = first; layer < first + scenario.layers_per_stage[stage]; ++layer) {
    if (!scenario.model.layers[static_cast<std::size_t>(layer)].is_moe) continue;
    const std::uint32_t loads = scenario.loads->number_of(layer, microbatch, position.group);
    sum += scenario.loads->work(loads, position.rank).activations;
  }
  return sum;
}

Bytes peak_activations(const Scenario& scenario, std::int64_t rank, const StageBytes& bytes,
                       const ExpertPosition& position) {
  Bytes alive;
  Bytes peak;
  for (const Slot& slot : scenario.order.ranks[static_cast<std::size_t>(rank)]) {
    const std::size_t stage = stage_of(scenario.order, rank, slot);
    const Bytes size =
        bytes.activations[stage] + expert_activations(scenario, stage, slot.microbatch, position);
    if (slot.pass == Pass::forward) {
      alive += size;
      peak = std::max(peak, alive);
    } else if (slot.pass != Pass::backward_input) {
      alive -= size;
    }
  }
  return peak;
}

/// Of the device that holds most.
Bytes peak_activations(const Scenario& scenario, std::int64_t rank, const StageBytes& bytes) {
  const bool differ = scenario.loads.has_value();
  Bytes peak;
  for (std::int64_t group = 0; group < (differ ? scenario.loads->groups() : 1); ++group) {
    for (std::int64_t expert_rank = 0; expert_rank < (differ ? scenario.layout.sizes().expert : 1);
         ++expert_rank) {
      peak = std::max(peak, peak_activations(scenario, rank, bytes, {group, expert_rank}));
    }
  }
  return peak;
}

std::int64_t divided(std::int64_t elements, std::int64_t ranks) { return (elements + ranks - 1) / ranks; }

}  // namespace

std::vector<MemoryReport> memory_of_ranks(const Scenario& scenario) {
  const StageBytes bytes = bytes_of_stages(scenario);
  const Sizes& sizes = scenario.layout.sizes();
  const std::int64_t holders = scenario.schedule->is_bidirectional() ? 2 : 1;
  const bool sharded = scenario.gradient_sync == GradientSync::zero1;
  const Bytes state = Bytes{4} + size_of(scenario.precision.moments) * 2;  // fp32 master, two moments
  std::vector<MemoryReport> ranks;
  for (std::int64_t rank = 0; rank < sizes.pipeline; ++rank) {
    const Holdings held = holdings(scenario, rank);
    const std::int64_t all = held.replicated + held.experts;
    const std::int64_t updated = sharded ? divided(held.replicated, sizes.data * sizes.context * holders) +
                                               divided(held.experts, sizes.expert_data() * holders)
                                         : all;
    MemoryReport memory;
    memory.parameters = size_of(Precision::bf16) * all;
    memory.gradients = size_of(scenario.precision.gradient) * all;
    memory.optimizer = state * updated;
    memory.activations = peak_activations(scenario, rank, bytes);
    memory.buffers = bytes.exchange;
    if (sizes.pipeline > 1) {
      memory.buffers += size_of(Precision::bf16) *
                        (4 * tokens_per_device(scenario) * scenario.model.hidden);  // in and out, both ways
    }
    ranks.push_back(memory);
  }
  return ranks;
}

}  // namespace moesim
