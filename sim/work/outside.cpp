#include "sim/work/outside.hpp"

#include <algorithm>

#include "sim/work/holdings.hpp"
#include "sim/work/share.hpp"

namespace moesim {
namespace {

/// Channels to each of so many ranks on several nodes: two, fewer where they would not all go at once, eight
/// to a channel (NCCL, src/graph/paths.cc, ncclTopoComputeP2pChannels).
std::int64_t channels_across_nodes(std::int64_t ranks, std::int64_t channels) {
  constexpr std::int64_t at_once = 8;
  if (channels == 0) return 0;
  return 2 * ((ranks + at_once - 1) / at_once) > channels ? 1 : 2;
}

/// Adds up the buffers of the communicators of one device.
class Channels {
 public:
  explicit Channels(const Scenario& scenario)
      : scenario_(scenario), buffer_(scenario.cluster->device.channel_buffer) {}

  /// Gathers, scatters, reductions to one rank.
  void add_ring(std::int64_t ranks) { add_neighbours(ranks > 1 ? 1 : 0); }
  /// All-reduces of any size.
  void add_all_reduce(std::int64_t ranks) {
    add_ring(ranks);
    add_tree(ranks);
  }
  /// All-reduces of small tensors alone.
  void add_tree(std::int64_t ranks) { add_neighbours(std::min<std::int64_t>(2, ranks - 1)); }

  /// Single sends between the first and each of the other devices, at most to `most` of them.
  void add_sends(const std::vector<DeviceId>& devices, std::int64_t most) {
    const auto ranks = static_cast<std::int64_t>(devices.size());
    if (ranks < 2) return;
    const Fabric& fabric = scenario_.fabric();
    const auto near = std::count_if(devices.begin() + 1, devices.end(), [&](DeviceId device) {
      return fabric.node_of(device) == fabric.node_of(devices.front());
    });
    const bool is_near = near + 1 == ranks;
    const Collectives& all = scenario_.collectives;
    const std::int64_t each = is_near ? all.peer_channels : channels_across_nodes(ranks, all.channels);
    bytes_ += buffer_ * (each * std::min<std::int64_t>(near, most));
    // Sends over the network share 16 slots of 128 KiB a channel, each way (src/include/device.h, init.cc).
    constexpr std::int64_t shared = std::int64_t{2} * 16 * 128 * 1024;
    if (!is_near && buffer_.count > 0) bytes_ += Bytes{shared} * all.channels;
  }

  /// Tokens to the experts of a group and back.
  void add_exchange(const std::vector<DeviceId>& devices) {
    if (devices.size() < 2) return;
    const Collectives& all = scenario_.collectives;
    if (all.token_exchange == TokenExchange::all_gather) return add_gather(devices);
    const ExchangeBuffers out = all.dispatch->buffers(), home = all.combine->buffers();
    if (buffer_.count > 0) {
      if (std::max(out, home) == ExchangeBuffers::whole) bytes_ += hybrid_ep(devices);
      if (out == ExchangeBuffers::queues || home == ExchangeBuffers::queues) bytes_ += deep_ep(devices);
    }
    if (std::min(out, home) == ExchangeBuffers::channels)
      add_sends(devices, static_cast<std::int64_t>(devices.size()) - 1);
  }

  /// Ten buffers for all tokens of a tensor-parallel group, in bf16: one for each product whose input is
  /// gathered or whose result is added up, forward and backward (Transformer Engine, pytorch/module/base.py:
  /// initialize_ub).
  void add_user_buffers() {
    constexpr std::int64_t products = 10;
    if (buffer_.count > 0 && scenario_.splits_products())
      bytes_ += Bytes{2 * scenario_.model.hidden} * (share_of(scenario_).tokens() * products);
  }

  Bytes bytes() const { return bytes_; }

 private:
  void add_neighbours(std::int64_t neighbours) {
    if (neighbours > 0) bytes_ += buffer_ * (scenario_.collectives.channels * neighbours);
  }

  /// What is gathered, in a buffer of its own (Megatron-LM, core/utils.py: GlobalMemoryBuffer), and as large
  /// what is added up over the ranks.
  void add_gather(const std::vector<DeviceId>& devices) {
    const auto ranks = static_cast<std::int64_t>(devices.size());
    add_ring(ranks);
    const Bytes tokens = Bytes{2 * scenario_.model.hidden} * (tokens_per_device(scenario_) * ranks);
    if (buffer_.count > 0) bytes_ += tokens * (2 * gathered_groups(scenario_));
  }

  /// Ten channels; for each peer of the node 256 tokens, or 288 in groups of several nodes, which have 128
  /// for each node too, to receive and to send. A token comes with 128 weights, indices and scales at most.
  Bytes deep_ep(const std::vector<DeviceId>& devices) const {
    constexpr std::int64_t channels = 10, beside = 8 + 128 * (8 + 4 + 4);
    const auto ranks = static_cast<std::int64_t>(devices.size());
    const std::int64_t nodes = nodes_of(devices, scenario_.fabric());
    const std::int64_t tokens = (ranks / nodes) * (nodes > 1 ? 288 : 256) + (nodes > 1 ? 2 * nodes * 128 : 0);
    return Bytes{channels * tokens * (2 * scenario_.model.hidden + beside)};
  }

  /// All tokens of the group, whoever they go to, in bf16 with a weight for each expert of the node; in
  /// groups of several nodes also those of a rank for each other node (docs/Hybrid-EP_Implementation.md,
  /// section 4.2). Dispatch and combine share it.
  Bytes hybrid_ep(const std::vector<DeviceId>& devices) const {
    const auto ranks = static_cast<std::int64_t>(devices.size());
    const std::int64_t nodes = nodes_of(devices, scenario_.fabric());
    std::int64_t experts = 0;
    for (const Layer& layer : scenario_.model.layers)
      if (layer.is_moe) experts = std::max(experts, layer.experts.count);
    const std::int64_t token = 2 * scenario_.model.hidden + 4 * experts / nodes;
    return Bytes{tokens_per_device(scenario_) * token * (ranks + nodes - 1)};
  }

  const Scenario& scenario_;
  Bytes buffer_;
  Bytes bytes_;
};

std::vector<DeviceId> devices_of(const Layout& layout, const Group& group) {
  std::vector<DeviceId> devices;
  for (const std::uint32_t position : group) devices.push_back(layout.device(0, position));
  return devices;
}

/// Sums of gradients, and parameters to those that share them.
void add_synchronisation(const Scenario& scenario, const Communicating& of, Channels& channels) {
  const Sizes& sizes = of.layout.sizes();
  const std::int64_t holders = of.is_bidirectional ? 2 : 1;
  const auto add = [&](std::int64_t ranks) {
    of.plan.updater == Updater::every_rank ? channels.add_all_reduce(ranks) : channels.add_ring(ranks);
  };
  add(sizes.data * sizes.context * holders);
  if (scenario.model.has_experts()) add(sizes.expert_data() * holders);
  if (of.sums_embedding) channels.add_all_reduce(2);
}

}  // namespace

OutsideTensors outside_tensors(const Scenario& scenario, const Communicating& of) {
  const Layout& layout = of.layout;
  const Sizes& sizes = layout.sizes();
  Channels channels(scenario);
  channels.add_tree(sizes.pipeline * sizes.stage_devices());
  for (const std::int64_t ranks : {sizes.tensor, sizes.expert_tensor})
    scenario.divides_tokens() ? channels.add_ring(ranks) : channels.add_all_reduce(ranks);
  if (scenario.context_exchange == ContextExchange::ring) {
    channels.add_sends(devices_of(layout, layout.first_context_group()), 2);
  } else {
    channels.add_ring(sizes.context);
  }
  channels.add_exchange(devices_of(layout, layout.first_expert_group()));
  channels.add_user_buffers();
  std::vector<DeviceId> stages;
  for (std::int64_t rank = 0; rank < sizes.pipeline; ++rank) stages.push_back(layout.device(rank, 0));
  channels.add_sends(stages, 2);
  add_synchronisation(scenario, of, channels);
  return {.driver = scenario.cluster->device.driver_memory, .channels = channels.bytes()};
}

OutsideTensors outside_tensors(const Scenario& scenario) {
  return outside_tensors(scenario, {.layout = scenario.layout,
                                    .plan = scenario.gradient_sync,
                                    .is_bidirectional = scenario.schedule->is_bidirectional(),
                                    .sums_embedding = embedding_ranks(scenario).has_value()});
}

}  // namespace moesim
