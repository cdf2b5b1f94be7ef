// Device memory: what is held all the time, and what passes keep between forward and backward.
#include <algorithm>
#include <numeric>
#include <utility>
#include <vector>

#include "sim/report/lifetimes.hpp"
#include "sim/report/report.hpp"
#include "sim/scenario/layers.hpp"
#include "sim/schedule/stage.hpp"
#include "sim/work/holdings.hpp"
#include "sim/work/outside.hpp"
#include "sim/work/placeholders.hpp"
#include "sim/work/share.hpp"

namespace moesim {
namespace {

/// Working memory of a pass's communication.
struct CommunicationBytes {
  Bytes exchange;  ///< rows that arrive for local experts, and as many on their way back
  Bytes context;   ///< keys and values of other context-parallel ranks, and their gradients
};

Bytes exchange_buffer(const Work& work, std::size_t layer) {
  const Scenario& scenario = work.scenario;
  const Sizes& sizes = scenario.layout.sizes();
  if (!scenario.model.layers[layer].is_moe || sizes.expert * sizes.expert_tensor == 1) return {};
  const std::vector<std::int64_t> per_expert = expert_rows(scenario, layer);
  const std::int64_t rows = work.loads != nullptr
                                ? work.loads->most_rows()
                                : std::accumulate(per_expert.begin(), per_expert.end(), std::int64_t{0});
  return (row_bytes(scenario.model.hidden, scenario.precision.dispatch) +
          row_bytes(scenario.model.hidden, scenario.precision.combine)) *
         rows;
}

/// Gathered whole, or in a ring a block in use and one that comes; in backward as much for gradients.
Bytes context_buffer(const Scenario& scenario, const BlockOps& attention) {
  const std::int64_t context = scenario.layout.sizes().context;
  if (context == 1) return {};
  const std::int64_t blocks = scenario.context_exchange == ContextExchange::ring ? 2 : context;
  Bytes largest;
  for (const Op& op : attention.forward) {
    if (op.kind == OpKind::attention) largest = std::max(largest, keys_and_values(op, scenario));
  }
  return largest * (2 * blocks);
}

CommunicationBytes communication_bytes(const Work& work) {
  const Scenario& scenario = work.scenario;
  const std::vector<std::size_t> shape = first_of_shape(scenario.model);
  CommunicationBytes bytes;
  for (std::size_t layer = 0; layer < shape.size(); ++layer) {
    if (shape[layer] != layer) continue;
    bytes.exchange = std::max(bytes.exchange, exchange_buffer(work, layer));
    bytes.context =
        std::max(bytes.context, context_buffer(scenario, ops_of_layer(scenario, layer).attention));
  }
  return bytes;
}

/// Of all the stages that a pipeline rank holds.
Bytes placeholders(const Scenario& scenario, std::int64_t rank) {
  if (!scenario.habits().placeholder_gradients) return {};
  std::vector<WeightShape> shapes;
  for (const HeldStage& stage : stages_of(scenario.chains, rank)) {
    for (const std::int64_t layer : layers_of(scenario, stage.stage)) {
      const LayerOps ops = ops_of_layer(scenario, static_cast<std::size_t>(layer));
      add_weight_shapes(ops.attention.backward_weight, shapes);
      add_weight_shapes(ops.feed_forward.backward_weight, shapes);
    }
    if (!stage.is_last) continue;
    const BlockOps head = lower_head(scenario.model, share_of(scenario), scenario.habits().fused_loss);
    add_weight_shapes(head.backward_weight, shapes);
  }
  return placeholder_bytes(std::move(shapes));
}

std::int64_t divided(std::int64_t elements, std::int64_t ranks) { return (elements + ranks - 1) / ranks; }

/// Ranks that hold the same parameters.
struct GroupSizes {
  std::int64_t replicated, experts;
};

/// What the update needs from step to step, and on its way.
struct UpdateBytes {
  Bytes parameters, gradients, optimizer, buffers;
};

/// Elements of the largest block of layers that is gathered at a time.
std::int64_t largest_unit(const Scenario& scenario, std::int64_t rank) {
  std::int64_t largest = 0;
  for (const HeldStage& stage : stages_of(scenario.chains, rank)) {
    if (stage.is_first) largest = std::max(largest, embedding_holdings(scenario).total());
    if (stage.is_last) largest = std::max(largest, head_holdings(scenario).total());
    for (const std::int64_t layer : layers_of(scenario, stage.stage)) {
      Holdings unit = attention_holdings(scenario, layer);
      unit += feed_forward_holdings(scenario, layer);
      largest = std::max(largest, unit.total());
    }
  }
  return largest;
}

/// Buffers of gradients and parameters on their way. Gathered layers, and gradients that wait for their
/// reduce-scatter: one at a time, two where the next goes on beside it. A server takes a bucket from each.
Bytes update_buffers(const Scenario& scenario, std::int64_t rank, const Holdings& held,
                     const GroupSizes& groups) {
  const GradientPlan& plan = scenario.gradient_sync;
  const Bytes gradient = size_of(scenario.precision.gradient);
  const std::int64_t at_once = plan.overlap ? 2 : 1;
  if (plan.shards_parameters) {
    const std::int64_t units = std::min(held.total(), largest_unit(scenario, rank) * at_once);
    return size_of(Precision::bf16) * (plan.gathers_once ? held.total() : units) + gradient * units;
  }
  const auto buckets = [&](std::int64_t elements, std::int64_t ranks, std::int64_t count) {
    return ranks == 1 ? Bytes{} : std::min(gradient * elements, plan.bucket_for(ranks, gradient)) * count;
  };
  if (plan.shards_gradients) {
    return buckets(held.replicated(), groups.replicated, at_once) +
           buckets(held.experts(), groups.experts, at_once);
  }
  if (plan.updater != Updater::server) return {};
  return buckets(held.replicated(), groups.replicated, groups.replicated - 1) +
         buckets(held.experts(), groups.experts, groups.experts - 1);
}

/// Of the device that holds most: with a server, the server.
UpdateBytes update_bytes(const Scenario& scenario, std::int64_t rank) {
  const GradientPlan& plan = scenario.gradient_sync;
  const Sizes& sizes = scenario.layout.sizes();
  const std::int64_t holders = scenario.schedule->is_bidirectional() ? 2 : 1;
  const GroupSizes groups{sizes.data * sizes.context * holders, sizes.expert_data() * holders};
  const Holdings held = holdings(scenario, rank);
  const std::int64_t shard =
      divided(held.replicated(), groups.replicated) + divided(held.experts(), groups.experts);
  const Bytes state = Bytes{4} + size_of(scenario.precision.moments) * 2;  // fp32 master, two moments
  return {.parameters = size_of(Precision::bf16) * (plan.shards_parameters ? shard : held.total()),
          .gradients = size_of(scenario.precision.gradient) * (plan.shards_gradients ? shard : held.total()),
          .optimizer = state * (plan.updater == Updater::owner ? shard : held.total()),
          .buffers = update_buffers(scenario, rank, held, groups)};
}

}  // namespace

std::vector<MemoryReport> memory_of_ranks(const Work& work) {
  const Scenario& scenario = work.scenario;
  const CommunicationBytes bytes = communication_bytes(work);
  const Lifetimes lifetimes(work);
  const Sizes& sizes = scenario.layout.sizes();
  const OutsideTensors outside = outside_tensors(scenario);
  std::vector<MemoryReport> ranks;
  for (std::int64_t rank = 0; rank < sizes.pipeline; ++rank) {
    const UpdateBytes update = update_bytes(scenario, rank);
    MemoryReport memory;
    memory.driver = outside.driver;
    memory.channels = outside.channels;
    memory.parameters = update.parameters;
    memory.gradients = update.gradients;
    memory.optimizer = update.optimizer;
    memory.activations = lifetimes.most(rank).bytes;
    memory.buffers = bytes.exchange + bytes.context + send_buffers(scenario) + update.buffers +
                     placeholders(scenario, rank);
    ranks.push_back(memory);
  }
  return ranks;
}

}  // namespace moesim
