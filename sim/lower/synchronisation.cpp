// Gradients are summed over the ranks that hold the same parameters, those of experts over their own groups.
// What goes beside compute has channels of its own: one for gradients, one for parameters.
#include "sim/lower/synchronisation.hpp"

#include <algorithm>
#include <utility>

#include "models/base/at.hpp"
#include "sim/schedule/stage.hpp"
#include "sim/work/copies.hpp"
#include "sim/work/tensors.hpp"

namespace moesim {
namespace {

/// Stages of a pipeline rank in the order in which their last weight gradients come.
std::vector<std::int64_t> stages_by_end(const Order& order, std::int64_t rank) {
  std::vector<std::int64_t> stages;
  const std::vector<Slot>& slots = at(order.ranks, rank);
  for (auto slot = slots.rbegin(); slot != slots.rend(); ++slot) {
    const auto stage = static_cast<std::int64_t>(stage_of(order, rank, *slot));
    if (has_weights(slot->pass) && std::find(stages.begin(), stages.end(), stage) == stages.end())
      stages.push_back(stage);
  }
  std::reverse(stages.begin(), stages.end());
  return stages;
}

std::int64_t of_scope(const Holdings& held, bool experts) {
  return experts ? held.experts() : held.replicated();
}

Scope scope_of(bool experts) { return experts ? Scope::expert_data : Scope::data; }

}  // namespace

Synchronisation::Synchronisation(StepLowering& step)
    : step_(step),
      scenario_(step.scenario()),
      plan_(scenario_.gradient_sync),
      units_(step),
      states_(step.communicators().actors().size()) {
  const Order& order = step_.order();
  for (std::size_t rank = 0; rank < order.ranks.size(); ++rank) {
    held_.push_back(holdings(scenario_, static_cast<std::int64_t>(rank)));
    weights_.push_back(weights_of_rank(scenario_, static_cast<std::int64_t>(rank)));
    std::vector<std::int32_t>& first = first_microbatch_.emplace_back();
    std::vector<std::int32_t>& last = last_microbatch_.emplace_back();
    for (const Slot& slot : order.ranks[rank]) {
      const auto chunk = static_cast<std::size_t>(slot.chunk);
      if (chunk >= last.size()) {
        first.resize(chunk + 1, -1);
        last.resize(chunk + 1, -1);
      }
      if (!has_weights(slot.pass)) continue;
      if (first[chunk] < 0) first[chunk] = slot.microbatch;
      last[chunk] = slot.microbatch;
    }
  }
  for (State& state : states_) state.gathered.resize(scenario_.model.layers.size() + 2);
}

const Communicator& Synchronisation::group_of(ActorId actor, bool experts) const {
  return step_.communicators().of(scope_of(experts), actor);
}

/// Parameters are of the pass that needs them, and so are gradients that it waits for; gradients beside
/// compute belong to none. Ranks share them all.
Tag Synchronisation::tag_of(Activity activity, bool experts, const Tag& pass) const {
  Tag tag;
  if (!plan_.overlap || activity == Activity::parameter) {
    tag = pass;
    tag.pipeline_rank = -1;
    tag.chunk = -1;
    tag.overlapped = false;
  }
  tag.activity = activity;
  tag.layer = activity == Activity::parameter ? pass.layer : std::int16_t{-1};
  tag.experts = experts;
  return tag;
}

bool Synchronisation::was_gathered(ActorId actor, const Tag& tag) {
  const std::size_t layers = scenario_.model.layers.size();
  const std::size_t unit = tag.layer >= 0                        ? static_cast<std::size_t>(tag.layer)
                           : tag.activity == Activity::embedding ? layers
                                                                 : layers + 1;
  const bool before = states_[actor].gathered[unit];
  states_[actor].gathered[unit] = true;
  return before;
}

TaskId Synchronisation::gather(ActorId actor, const Tag& tag, TaskId now) {
  if (plan_.has_units()) return units_.gather(actor);
  if (!plan_.gathers_in_passes() || (plan_.gathers_once() && was_gathered(actor, tag))) return nothing;
  Holdings needed = block_holdings(scenario_, tag.activity, tag.layer);
  if (tag.activity == Activity::attention) needed += feed_forward_holdings(scenario_, tag.layer);
  // Beside compute one layer ahead: what this pass needs comes while the layer before it runs.
  const bool is_beside = plan_.gathers_beside || plan_.overlap;
  const TaskId from = is_beside ? std::exchange(states_[actor].previous_use, now) : now;
  TaskId last = nothing;
  for (const bool experts : {false, true}) {
    const Bytes bytes = sent_parameters(scenario_, of_scope(needed, experts), needed.narrow_of(experts));
    if (bytes.count == 0 || group_of(actor, experts).group_size() == 1) continue;
    const PatternId pattern = step_.patterns().sync(actor, scope_of(experts), Operation::all_gather,
                                                    *scenario_.collectives.parameters, bytes);
    last = step_.call_beside(actor, scope_of(experts), Channel::gather, pattern,
                             tag_of(Activity::parameter, experts, tag), from);
  }
  return last;
}

bool Synchronisation::is_last_microbatch(ActorId actor, const Tag& tag) const {
  const auto rank = static_cast<std::size_t>(step_.communicators().actors()[actor].pipeline_rank);
  return at(last_microbatch_[rank], tag.chunk) == tag.microbatch;
}

TaskId Synchronisation::add_up(ActorId actor, const Tag& tag) {
  const auto rank = static_cast<std::size_t>(step_.communicators().actors()[actor].pipeline_rank);
  if (at(first_microbatch_[rank], tag.chunk) == tag.microbatch) return nothing;
  Copied added{.tensors = 0};
  for (const bool experts : {false, true}) {
    if (!adds_gradients(scenario_, group_of(actor, experts).group_size())) continue;
    added.elements += of_scope(block_holdings(scenario_, tag.activity, tag.layer), experts);
    added.tensors += std::ssize(block_tensors(scenario_, tag.activity, tag.layer).of(experts));
  }
  return added.elements == 0 ? nothing : step_.copy(actor, {gradient_sums(added, scenario_.precision)}, tag);
}

TaskId Synchronisation::produced(ActorId actor, std::int64_t stage, const Tag& tag, TaskId after) {
  const TaskId added = add_up(actor, tag);
  const TaskId sent = send_produced(actor, stage, tag, added == nothing ? after : added);
  return sent == nothing ? added : sent;
}

TaskId Synchronisation::send_produced(ActorId actor, std::int64_t stage, const Tag& tag, TaskId after) {
  if (plan_.has_units()) {
    const bool reduces = plan_.shards_gradients || is_last_microbatch(actor, tag);
    return reduces ? units_.produced(actor, tag) : nothing;
  }
  if (plan_.shards_gradients) {
    open(actor, tag, after);
    return send_open(actor, plan_.by_layer && tag.activity != Activity::feed_forward, tag);
  }
  if (!plan_.overlap || !is_last_microbatch(actor, tag)) return nothing;
  const TaskId copied = plan_.copies == SyncCopies::none ? nothing : copy_in(actor, tag);
  states_[actor].complete.push_back({stage, tag, copied == nothing ? after : copied});
  return copied;
}

TaskId Synchronisation::pass_ends(ActorId actor, const Tag& tag) {
  if (plan_.has_units()) return units_.pass_ends(actor, tag);
  return plan_.shards_gradients ? send_open(actor, true, tag) : nothing;
}

void Synchronisation::open(ActorId actor, const Tag& tag, TaskId after) {
  const Holdings held = block_holdings(scenario_, tag.activity, tag.layer);
  for (const bool experts : {false, true}) {
    if (group_of(actor, experts).group_size() == 1) continue;
    states_[actor].open[experts ? 1 : 0] += size_of(scenario_.precision.gradient) * of_scope(held, experts);
  }
  states_[actor].open_after = after;
}

TaskId Synchronisation::send_open(ActorId actor, bool all, const Tag& tag) {
  TaskId last = nothing;
  for (const bool experts : {false, true}) {
    Bytes& left = states_[actor].open[experts ? 1 : 0];
    const Bytes bucket =
        plan_.bucket_for(group_of(actor, experts).group_size(), size_of(scenario_.precision.gradient));
    while (!plan_.by_layer && left >= bucket) {
      last = send(actor, experts, bucket, tag);
      left -= bucket;
    }
    if (all && left.count > 0) last = send(actor, experts, std::exchange(left, Bytes{}), tag);
  }
  return plan_.overlap ? nothing : last;
}

TaskId Synchronisation::send(ActorId actor, bool experts, Bytes bytes, const Tag& tag) {
  const Scope scope = scope_of(experts);
  const auto call = [&](Operation operation, const Collective& collective) {
    const PatternId pattern = step_.patterns().sync(actor, scope, operation, collective, bytes);
    return step_.call_beside(actor, scope, Channel::gradient, pattern,
                             tag_of(Activity::gradient, experts, tag), states_[actor].open_after);
  };
  const TaskId sent = call(gradient_operation(plan_.updater), *scenario_.collectives.gradients);
  return plan_.server_per_node ? call(Operation::all_reduce, *scenario_.collectives.servers) : sent;
}

/// What became complete while the last microbatch ran. Ranks that hold the same stages send them in the order
/// of the lowest of them: calls of a group have one order.
void Synchronisation::send_complete(ActorId actor) {
  const std::int64_t rank = step_.communicators().actors()[actor].pipeline_rank;
  const std::vector<std::int64_t> stages =
      stages_by_end(step_.order(), Communicators::holders(scenario_, rank).front());
  for (const std::int64_t stage : stages) {
    for (const Complete& complete : states_[actor].complete) {
      if (complete.stage != stage) continue;
      if (plan_.by_tensor) {
        add_tensors(actor, complete);
        continue;
      }
      open(actor, complete.tag, complete.after);
      send_open(actor, false, complete.tag);
    }
    for (const bool experts : {false, true})
      if (plan_.by_tensor) send_tensors(actor, experts);
    send_open(actor, true, {});
  }
}

void Synchronisation::call_for_all(ActorId actor, Activity activity, Operation operation,
                                   const Collective& collective) {
  const Holdings& held = held_by(actor);
  for (const bool experts : {false, true}) {
    const std::int64_t elements = of_scope(held, experts);
    const Bytes bytes = activity == Activity::gradient
                            ? size_of(scenario_.precision.gradient) * elements
                            : sent_parameters(scenario_, elements, held.narrow_of(experts));
    if (elements == 0 || group_of(actor, experts).group_size() == 1) continue;
    const Scope scope = scope_of(experts);
    const PatternId pattern = step_.patterns().sync(actor, scope, operation, collective, bytes);
    Tag tag;
    tag.activity = activity;
    tag.experts = experts;
    step_.call(actor, scope, pattern, tag);
  }
  step_.join(actor);
}

void Synchronisation::send_whole(ActorId actor) {
  call_for_all(actor, Activity::gradient, gradient_operation(plan_.updater),
               *scenario_.collectives.gradients);
  if (plan_.server_per_node)
    call_for_all(actor, Activity::gradient, Operation::all_reduce, *scenario_.collectives.servers);
}

void Synchronisation::update(ActorId actor) {
  step_.join(actor);
  prepare_gradients(actor);
  sum_copies(actor);
  if (plan_.overlap || plan_.shards_gradients) {
    if (!plan_.shards_gradients && !plan_.has_units()) send_complete(actor);
    if (plan_.copies == SyncCopies::buckets) copy_out(actor);
    step_.streams(actor).arrival = step_.streams(actor).gradient;
    step_.join(actor);
    units_.finish(actor);
  } else {
    send_whole(actor);
  }
  sum_embeddings(actor);
  optimize(actor);
  const Collective& parameters = *scenario_.collectives.parameters;
  if (plan_.updater == Updater::owner && !plan_.gathers_in_passes())
    call_for_all(actor, Activity::parameter, Operation::all_gather, parameters);
  if (plan_.updater == Updater::server)
    call_for_all(actor, Activity::parameter, Operation::broadcast, parameters);
}

}  // namespace moesim
