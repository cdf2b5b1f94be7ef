#include "sim/work/update_bytes.hpp"

#include "sim/scenario/layers.hpp"
#include "sim/schedule/stage.hpp"
#include "sim/work/share.hpp"

namespace moesim {
namespace {

/// Of which others hold the same: DDP's buckets, which stay, beside gradients or in their place.
std::int64_t sent_elements(const HeldElements& held, const HolderCounts& holders) {
  return (holders.replicated > 1 ? held.replicated : 0) + (holders.experts > 1 ? held.experts : 0);
}

/// Parameters that are whole while the loss is computed, when activations are at their peak: the ends of the
/// model and the buffer of the layer gathered last, or all that is kept for backward.
std::int64_t gathered_at_loss(const HeldElements& held, const HolderCounts& holders,
                              const GradientPlan& plan) {
  if (sent_elements(held, holders) == 0) return 0;
  return plan.keeps == Keeps::pass ? held.ends + held.largest_layer : held.total();
}

/// Buffers of gradients and parameters on their way. Gathered layers, and gradients that wait for their
/// reduce-scatter: one at a time, two where the next goes on beside it. A server takes a bucket from each.
Bytes update_buffers(const HeldElements& held, const HolderCounts& holders, const GradientPlan& plan,
                     Bytes gradient) {
  if (plan.has_buckets()) return gradient * sent_elements(held, holders);
  if (plan.has_units()) return size_of(Precision::bf16) * gathered_at_loss(held, holders, plan);
  const std::int64_t at_once = plan.overlap ? 2 : 1;
  if (plan.shards_parameters) {
    const std::int64_t units = std::min(held.total(), held.largest * at_once);
    return size_of(Precision::bf16) * (plan.keeps == Keeps::step ? held.total() : units) + gradient * units;
  }
  const auto buckets = [&](std::int64_t elements, std::int64_t ranks, std::int64_t count) {
    return ranks == 1 ? Bytes{} : std::min(gradient * elements, plan.bucket_for(ranks, gradient)) * count;
  };
  if (plan.shards_gradients) {
    return buckets(held.replicated, holders.replicated, at_once) +
           buckets(held.experts, holders.experts, at_once);
  }
  if (plan.updater != Updater::server) return {};
  return buckets(held.replicated, holders.replicated, holders.replicated - 1) +
         buckets(held.experts, holders.experts, holders.experts - 1);
}

/// The layer gathered next, if there is one, and gradients that are not reduced yet.
std::int64_t whole_in_backward(std::int64_t layer, const HeldElements& held, const GradientPlan& plan) {
  const bool gathers = plan.keeps == Keeps::pass && plan.ahead > 0;
  return layer + (gathers ? std::min(layer, held.total() - held.ends - layer) : 0);
}

/// Of the part that each of those owners updates.
Bytes state_bytes(const HeldElements& held, const HolderCounts& owners, const HeldStates& states) {
  const std::int64_t rest = shard_of(held.rest, owners.replicated);
  return states.matrices * (shard_of(held, owners) - rest) + states.rest * rest +
         states.factors * (shard_of(held.tensors.factors, owners.replicated) +
                           shard_of(held.expert_tensors.factors, owners.experts));
}

Bytes working_bytes(const HeldElements& held, const HolderCounts& owners, const UpdateWorking& working) {
  return working.all * shard_of(held, owners) +
         working.largest * std::max(shard_of(held.tensors.largest, owners.replicated),
                                    shard_of(held.expert_tensors.largest, owners.experts));
}

HeldElements elements_of(const Holdings& unit) {
  return {.replicated = unit.replicated(),
          .experts = unit.experts(),
          .largest = unit.total(),
          .rest = unit.rest(),
          .tensors = unit.tensors,
          .expert_tensors = unit.expert_tensors,
          .narrow = unit.narrow,
          .narrow_experts = unit.narrow_experts};
}

/// Parameters in fp8 have no bf16 beside them; copies have.
Bytes parameter_bytes(const HeldElements& held, const Scenario& scenario) {
  const std::int64_t narrow = held.narrow + held.narrow_experts;
  const bool are_narrow = scenario.precision.parameters == Precision::fp8;
  const Bytes wide = size_of(scenario.habits().parameters) * (held.total() - (are_narrow ? narrow : 0));
  return wide + from_bytes(narrow_weights_of(scenario).held * static_cast<double>(narrow));
}

}  // namespace

HeldElements elements_of_layer(const Holdings& unit) {
  HeldElements held = elements_of(unit);
  held.largest_layer = unit.total();
  return held;
}

HeldElements elements_of_end(const Holdings& unit) {
  HeldElements held = elements_of(unit);
  held.ends = unit.total();
  return held;
}

HeldElements held_elements(const Scenario& scenario, std::int64_t pipeline_rank) {
  HeldElements held;
  for (const HeldStage& stage : stages_of(scenario.chains, pipeline_rank)) {
    if (stage.is_first) held += elements_of_end(embedding_holdings(scenario));
    if (stage.is_last) held += elements_of_end(head_holdings(scenario));
    for (const std::int64_t layer : layers_of(scenario, stage.stage)) {
      Holdings unit = attention_holdings(scenario, layer);
      unit += feed_forward_holdings(scenario, layer);
      held += elements_of_layer(unit);
    }
  }
  return held;
}

HolderCounts holders_of(const Scenario& scenario) {
  const Sizes& sizes = scenario.layout.sizes();
  const std::int64_t holders = scenario.schedule->is_bidirectional() ? 2 : 1;
  return {sizes.data * sizes.context * holders, sizes.expert_data() * holders};
}

NarrowWeights narrow_weights_of(const Scenario& scenario) {
  const PrecisionPlan& precision = scenario.precision;
  const Generation generation = scenario.cluster->device.generation;
  if (precision.parameters == Precision::fp8) return narrow_weights(scenario.habits().recipe, generation);
  if (precision.weight_copies) return narrow_copies(precision.gemm, scenario.habits().recipe, generation);
  return {};
}

Bytes sent_parameters(const Scenario& scenario, std::int64_t all, std::int64_t narrow) {
  if (scenario.precision.parameters != Precision::fp8) return size_of(Precision::bf16) * all;
  return size_of(Precision::bf16) * (all - narrow) +
         from_bytes(narrow_weights_of(scenario).sent * static_cast<double>(narrow));
}

Bytes gradient_bytes(const HeldElements& held, const HolderCounts& holders, const GradientPlan& plan,
                     const PrecisionPlan& precision) {
  if (plan.copies == SyncCopies::views)
    return size_of(precision.gradient) * (held.total() - sent_elements(held, holders));
  if (!plan.shards_gradients) return size_of(precision.gradient) * held.total();
  return size_of(plan.has_units() ? plan.shards : precision.gradient) *
         shard_of(held, sharers_of(holders, plan));
}

Bytes unit_bytes_in_backward(std::int64_t layer, const HeldElements& held, const HolderCounts& holders,
                             const GradientPlan& plan) {
  if (!plan.has_units() || sent_elements(held, holders) == 0) return {};
  return size_of(Precision::bf16) * whole_in_backward(layer, held, plan);
}

UpdateBytes update_bytes(const HeldElements& held, const HolderCounts& holders, const GradientPlan& plan,
                         const Scenario& scenario) {
  const Bytes gradient = size_of(scenario.precision.gradient);
  const HolderCounts sharers = sharers_of(holders, plan);
  const HolderCounts owners = plan.updater == Updater::owner ? sharers : HolderCounts{};
  Bytes states = state_bytes(held, owners, scenario.update.states);
  // Shards in fp32 are the master weights.
  if (plan.shards == Precision::fp32 && scenario.update.has_master)
    states -= size_of(Precision::fp32) * shard_of(held, owners);
  const Bytes coming = scenario.update.offloads ? states : Bytes{};
  return {.parameters = plan.shards_parameters ? size_of(plan.shards) * shard_of(held, sharers)
                                               : parameter_bytes(held, scenario),
          .gradients = gradient_bytes(held, holders, plan, scenario.precision),
          .optimizer = states - coming,
          .buffers = update_buffers(held, holders, plan, gradient) + scenario.habits().workspaces,
          .working = working_bytes(held, owners, scenario.update.working) + coming};
}

Bytes exchange_buffer(const Scenario& scenario, std::int64_t rows) {
  const Sizes& sizes = scenario.layout.sizes();
  if (sizes.expert * sizes.expert_tensor == 1) return {};
  return (row_bytes(scenario.model.hidden, scenario.precision.dispatch) +
          row_bytes(scenario.model.hidden, scenario.precision.combine)) *
         rows;
}

Bytes context_buffer(const Scenario& scenario, const std::vector<Op>& forward) {
  const std::int64_t context = scenario.layout.sizes().context;
  if (context == 1) return {};
  const std::int64_t blocks = scenario.context_exchange == ContextExchange::ring ? 2 : context;
  Bytes largest;
  for (const Op& op : forward) {
    if (op.kind == OpKind::attention) largest = std::max(largest, keys_and_values(op, scenario));
  }
  return largest * (2 * blocks);
}

}  // namespace moesim
