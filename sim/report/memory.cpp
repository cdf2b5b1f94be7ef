// Device memory: what is held all the time, and what passes keep between forward and backward.
#include <algorithm>
#include <numeric>
#include <utility>
#include <vector>

#include "sim/report/lifetimes.hpp"
#include "sim/report/report.hpp"
#include "sim/scenario/layers.hpp"
#include "sim/schedule/stage.hpp"
#include "sim/work/outside.hpp"
#include "sim/work/placeholders.hpp"
#include "sim/work/share.hpp"
#include "sim/work/update_bytes.hpp"

namespace moesim {
namespace {

/// Working memory of a pass's communication.
struct CommunicationBytes {
  Bytes exchange;  ///< rows that arrive for local experts, and as many on their way back
  Bytes context;   ///< keys and values of other context-parallel ranks, and their gradients
};

/// That a device computes in its experts, at most.
std::int64_t most_rows(const Work& work, std::size_t layer) {
  if (!work.scenario.model.layers[layer].is_moe) return 0;
  if (work.loads != nullptr) return work.loads->most_rows();
  const std::vector<std::int64_t> rows = expert_rows(work.scenario, layer);
  return std::accumulate(rows.begin(), rows.end(), std::int64_t{0});
}

CommunicationBytes communication_bytes(const Work& work) {
  const Scenario& scenario = work.scenario;
  const std::vector<std::size_t> shape = first_of_shape(scenario);
  CommunicationBytes bytes;
  for (std::size_t layer = 0; layer < shape.size(); ++layer) {
    if (shape[layer] != layer) continue;
    bytes.exchange = std::max(bytes.exchange, exchange_buffer(scenario, most_rows(work, layer)));
    bytes.context =
        std::max(bytes.context, context_buffer(scenario, ops_of_layer(scenario, layer).attention.forward));
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

/// Of what goes to the host, of each block by itself.
Bytes copy_buffers(const Work& work, std::int64_t rank) {
  const Scenario& scenario = work.scenario;
  if (scenario.offload.is_none()) return {};
  Bytes attention, feed_forward;
  for (const std::int64_t layer : layers_of_rank(scenario, rank)) {
    const auto number = static_cast<std::size_t>(layer);
    const LayerOps ops = ops_of_layer(scenario, number, work.loads.get());
    attention = std::max(attention, ops.attention.offloaded);
    const bool differs = work.loads != nullptr && scenario.model.layers[number].is_moe;
    feed_forward =
        std::max(feed_forward, differs ? work.loads->most_offloaded() : ops.feed_forward.offloaded);
  }
  return (attention + feed_forward) * copied_layers;
}

}  // namespace

std::vector<MemoryReport> memory_of_ranks(const Work& work) {
  const Scenario& scenario = work.scenario;
  const CommunicationBytes bytes = communication_bytes(work);
  const Lifetimes lifetimes(work);
  const HolderCounts holders = holders_of(scenario);
  const OutsideTensors outside = outside_tensors(scenario);
  std::vector<MemoryReport> ranks;
  for (std::int64_t rank = 0; rank < scenario.layout.sizes().pipeline; ++rank) {
    const UpdateBytes update =
        update_bytes(held_elements(scenario, rank), holders, scenario.gradient_sync, scenario);
    MemoryReport memory;
    memory.driver = outside.driver;
    memory.channels = outside.channels;
    memory.parameters = update.parameters;
    const HeldMost most = lifetimes.most(rank);
    memory.gradients = scenario.software->holds_as_computed() ? most.gradients : update.gradients;
    memory.optimizer = update.optimizer;
    memory.activations = most.bytes;
    memory.buffers = bytes.exchange + bytes.context + send_buffers(scenario) + update.buffers +
                     placeholders(scenario, rank) + copy_buffers(work, rank);
    const Bytes in_passes = memory.gradients + memory.activations;
    const Bytes in_update = update.gradients + update.working;
    if (in_update > in_passes) memory.buffers += in_update - in_passes;
    ranks.push_back(memory);
  }
  return ranks;
}

}  // namespace moesim
