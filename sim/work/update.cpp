#include "sim/work/update.hpp"

#include <algorithm>
#include <utility>

#include "sim/scenario/layers.hpp"
#include "sim/schedule/stage.hpp"

namespace moesim {
namespace {

constexpr double fp32 = 4, bf16 = 2;

bool has_separate_passes(const Scenario& scenario) {
  return scenario.habits().update_passes == UpdatePasses::separate;
}

/// Shards in fp32 are master weights and parameters in one.
bool has_parameters_apart(const Scenario& scenario) {
  return scenario.gradient_sync.shards != Precision::fp32;
}

double bytes_of_gradient(const Scenario& scenario) {
  return static_cast<double>(size_of(scenario.precision.gradient).count);
}

/// Over what the optimizer alone moves for each parameter.
double separate_bytes(const Scenario& scenario) {
  if (!has_separate_passes(scenario)) return 0;
  const double gradient = bytes_of_gradient(scenario);
  const double cast = gradient < fp32 ? gradient + fp32 : 0;
  const double norm_and_clip = fp32 + 2 * fp32, copy = fp32 + bf16;
  const double beside = fp32 - gradient - bf16;  // gradients are in fp32 then, and the copy apart
  return cast + norm_and_clip + beside + copy;
}

Op pass_over(std::string_view name, std::int64_t elements, double bytes) {
  return make_streaming(OpKind::elementwise, name, OpPass::backward_weight, elements, 1, bytes,
                        Module::update);
}

Op small_launches(const UpdatePass& pass, std::int64_t tensors) {
  const std::int64_t count = std::max<std::int64_t>(1, pass.small * tensors);
  Op op = pass_over(pass.name, count, fp32);
  op.walk = Walk::tensors;
  op.update_step = UpdateStep::map;
  op.kernels = count;
  return op;
}

/// States and master weights come from the host, a copy for each of a tensor (Megatron-Core,
/// core/optimizer/cpu_offloading/optimizer_state_offloader.py: reload). They leave beside the next forward.
void add_reload(const Scenario& scenario, const Updated& updated, std::vector<Repeated>& ops) {
  const UpdatePlan& plan = scenario.update;
  if (!plan.offloads || updated.all == 0) return;
  const double shards = plan.has_master && !has_parameters_apart(scenario) ? fp32 : 0;  // these stay
  const auto bytes_of = [&](Bytes states, std::int64_t elements) {
    return (static_cast<double>(states.count) - shards) * static_cast<double>(elements);
  };
  const double bytes =
      bytes_of(plan.states.matrices, updated.all - updated.rest) + bytes_of(plan.states.rest, updated.rest);
  const Device& device = scenario.cluster->device;
  Op op = make_streaming(OpKind::copy, "states from the host", OpPass::backward_weight, updated.all, 1,
                         bytes / static_cast<double>(updated.all), Module::update);
  op.kernels = std::max<std::int64_t>(1, 3 * (updated.matrices + updated.others));
  op.access = {.share = device.host_rate / device.memory_bandwidth, .name = "from the host"};
  ops.push_back({op});
}

/// Weights that are held in narrow formats are cast once a step.
void add_casts(const Scenario& scenario, const Updated& updated, std::vector<Repeated>& ops) {
  const NarrowWeights each = narrow_weights_of(scenario);
  if (each.by_owner > 0 && updated.narrow > 0)
    ops.push_back({pass_over("casts of updated weights", updated.narrow, each.by_owner)});
  if (each.by_all > 0 && updated.narrow_held > 0)
    ops.push_back({pass_over("casts of weights", updated.narrow_held, each.by_all)});
}

/// Elements of a pass and the tensors that they are in.
std::pair<std::int64_t, std::int64_t> range_of(Over over, const Updated& updated) {
  switch (over) {
    case Over::all:
      return {updated.all, updated.matrices + updated.others};
    case Over::matrices:
      return {updated.all - updated.rest, updated.matrices};
    case Over::rest:
      break;
  }
  return {updated.rest, updated.others};
}

void add(const Weight& weight, std::vector<Weight>& weights) {
  const auto same = std::find_if(weights.begin(), weights.end(), [&](const Weight& other) {
    return other.rows == weight.rows && other.columns == weight.columns;
  });
  if (same == weights.end()) return weights.push_back(weight);
  same->count += weight.count;
  same->tensors += weight.tensors;
}

}  // namespace

Updated updated_part(const HeldElements& held, const HolderCounts& owners, std::span<const Weight> weights) {
  const std::int64_t all = shard_of(held, owners), rest = shard_of(held.rest, owners.replicated);
  const std::int64_t matrices = std::max<std::int64_t>(1, held.total() - held.rest);
  return {.all = all,
          .rest = rest,
          .matrices = held.tensors.matrices + held.expert_tensors.matrices,
          .others = held.tensors.rest + held.expert_tensors.rest,
          .weights = weights,
          .share = static_cast<double>(all - rest) / static_cast<double>(matrices),
          .narrow = shard_of(held.narrow, owners.replicated) + shard_of(held.narrow_experts, owners.experts),
          .narrow_held = held.narrow + held.narrow_experts};
}

std::vector<Weight> weights_of_rank(const Scenario& scenario, std::int64_t pipeline_rank) {
  std::vector<Weight> weights;
  if (scenario.update.iterations == 0) return weights;
  const Sizes& sizes = scenario.layout.sizes();
  for (const HeldStage& stage : stages_of(scenario.chains, pipeline_rank)) {
    for (const std::int64_t layer : layers_of(scenario, stage.stage)) {
      const auto index = static_cast<std::size_t>(layer);
      const Experts& experts = scenario.model.layers[index].experts;
      for (const Weights& block :
           {attention_weights(scenario.model, index, sizes.tensor),
            feed_forward_weights(scenario.model, index, sizes.tensor),
            expert_weights(scenario.model, index, sizes.expert_tensor, scenario.slots_per_rank(experts))}) {
        for (const Weight& weight : block.matrices()) add(weight, weights);
      }
    }
  }
  return weights;
}

std::vector<Repeated> gradient_ops(const Scenario& scenario, std::int64_t gradients) {
  if (!has_separate_passes(scenario) || gradients == 0) return {};
  const Sizes& sizes = scenario.layout.sizes();
  const double passes = sizes.data * sizes.context > 1 ? 4 : 2;
  return {{pass_over("gradients", gradients, passes * bytes_of_gradient(scenario))}};
}

std::vector<Repeated> update_ops(const Scenario& scenario, const Updated& updated) {
  const UpdatePlan& plan = scenario.update;
  std::vector<Repeated> ops;
  add_reload(scenario, updated, ops);
  for (const UpdatePass& pass : plan.passes) {
    const auto [elements, tensors] = range_of(pass.over, updated);
    if (elements == 0 || (pass.is_copy && !has_parameters_apart(scenario))) continue;
    Op op = pass_over(pass.name, elements, pass.bytes + separate_bytes(scenario));
    op.walk = pass.walk;
    op.update_step = pass.step;
    if (pass.walk == Walk::tensors) op.kernels = std::max<std::int64_t>(1, tensors);
    op.waits = pass.waits * tensors;
    if (pass.small > 0) ops.push_back({small_launches(pass, tensors)});
    ops.push_back({op});
  }
  add_casts(scenario, updated, ops);
  for (const Weight& weight : updated.weights) {
    for (Repeated& one : newton_schulz(weight.rows, weight.columns, plan.iterations, plan.walk)) {
      one.times *= static_cast<double>(weight.count) * updated.share;
      if (one.times > 0) ops.push_back(std::move(one));
    }
  }
  return ops;
}

OpSum sum_of(const std::vector<Repeated>& ops, const Scenario& scenario) {
  OpSum sum;
  for (const Repeated& one : ops) sum.add(one.op, scenario, one.times);
  return sum;
}

}  // namespace moesim
