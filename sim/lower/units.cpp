#include "sim/lower/units.hpp"

#include <algorithm>
#include <array>
#include <set>
#include <utility>

#include "sim/layer/issue.hpp"
#include "sim/schedule/stage.hpp"
#include "sim/work/tensors.hpp"
#include "sim/work/update_bytes.hpp"

namespace moesim {
namespace {

std::int64_t of_scope(const Holdings& held, bool experts) {
  return experts ? held.experts() : held.replicated();
}

bool is_end(Activity block) { return block == Activity::embedding || block == Activity::head; }

/// What a stage holds of the model's ends.
Holdings ends_of(const Scenario& scenario, const StageContent& stage) {
  Holdings ends;
  if (stage.has_embedding) ends += embedding_holdings(scenario);
  if (stage.has_head) ends += head_holdings(scenario);
  return ends;
}

Holdings layer_holdings(const Scenario& scenario, std::int64_t layer) {
  Holdings held = attention_holdings(scenario, layer);
  held += feed_forward_holdings(scenario, layer);
  return held;
}

/// Parameters are of the pass that needs them, and ranks share them.
Tag tag_of_parameters(Tag tag, bool experts) {
  tag.activity = Activity::parameter;
  tag.pipeline_rank = -1;
  tag.experts = experts;
  return tag;
}

Tag tag_of_gradients(bool experts) {
  Tag tag;
  tag.activity = Activity::gradient;
  tag.experts = experts;
  return tag;
}

}  // namespace

Units::Units(StepLowering& step) : step_(step), scenario_(step.scenario()), plan_(scenario_.gradient_sync) {
  if (!plan_.has_units()) return;
  uses_.resize(step_.order().ranks.size());
  for (std::size_t rank = 0; rank < uses_.size(); ++rank)
    add_uses(static_cast<std::int64_t>(rank), uses_[rank]);
  states_.resize(step_.communicators().actors().size());
  for (State& state : states_) state.has_sum.resize(scenario_.model.layers.size() + 2);
}

namespace {

/// The uses of units by the passes of one rank.
class UseList {
 public:
  UseList(const StepLowering& step, std::int64_t rank) : step_(step), rank_(rank) {}

  /// Calls `use(tag, stage, is_first)` for each; the ends of the model have a first use in each pass.
  void visit(auto use) const {
    const std::vector<Slot>& slots = at(step_.order().ranks, rank_);
    for (std::size_t i = 0; i < slots.size(); ++i) {
      const bool is_pair = slots[i].overlapped;
      const std::array<Slot, 2> passes{slots[i], slots[is_pair ? i + 1 : i]};
      const std::array<StageContent, 2> stages{stage(passes[0]), stage(passes[1])};
      std::array<bool, 2> ends_used{};
      const std::vector<Issued> all =
          is_pair ? issued_by_pair(stages[0], stages[1]) : issued_by(stages[0], slots[i].pass);
      for (const Issued& issued : all) {
        const std::size_t of = is_pair && issued.is_backward ? 1 : 0;
        const Programs& programs = step_.programs().of(issued);
        const Program& program = is_pair ? programs.of_pair(issued.is_backward) : programs.of(slots[i].pass);
        for (const Act& act : program.of(issued.segment)) {
          if (act.kind != ActKind::needs) continue;
          const bool is_first = !is_end(act.activity) || !std::exchange(ends_used[of], true);
          use(tag_of(act, issued, passes[of]), stages[of], is_first);
        }
      }
      if (is_pair) ++i;
    }
  }

 private:
  StageContent stage(const Slot& slot) const {
    return content_of(step_.scenario().layers_per_stage,
                      static_cast<std::size_t>(stage_of(step_.order(), rank_, slot)));
  }

  static Tag tag_of(const Act& act, const Issued& issued, const Slot& slot) {
    return {.microbatch = slot.microbatch,
            .layer = static_cast<std::int16_t>(issued.layer),
            .activity = act.activity,
            .pass = act.pass == OpPass::forward ? PassKind::forward : PassKind::backward_input};
  }

  const StepLowering& step_;
  std::int64_t rank_;
};

}  // namespace

void Units::add_uses(std::int64_t rank, Uses& uses) const {
  std::set<std::pair<std::int64_t, std::size_t>> kept;  // units, by layer or the first one of their stage
  UseList(step_, rank).visit([&](const Tag& tag, const StageContent& stage, bool is_first) {
    const bool is_whole = plan_.keeps == Keeps::step && !kept.insert({tag.layer, stage.first_layer}).second;
    const bool needs = tag.pass == PassKind::forward || plan_.keeps == Keeps::pass;
    const bool gathers = is_first && needs && !is_whole;
    uses.gathering_of.push_back(gathers ? std::optional(uses.gatherings.size()) : std::nullopt);
    if (!gathers) return;
    uses.gatherings.push_back(
        {tag, tag.layer >= 0 ? layer_holdings(scenario_, tag.layer) : ends_of(scenario_, stage)});
  });
}

/// A forward gathers the next units before it copies its own out, a backward after.
TaskId Units::gather(ActorId actor) {
  State& state = states_[actor];
  const Uses& uses = uses_of(actor);
  const std::optional<std::size_t> number = uses.gathering_of[state.use++];
  if (!number || shared_elements(actor, uses.gatherings[*number].unit) == 0) return nothing;
  step_.busy_host(actor, step_.scenario().habits().host.unit, uses.gatherings[*number].tag);
  const std::size_t ahead = *number + static_cast<std::size_t>(plan_.ahead);
  const bool is_forward = uses.gatherings[*number].tag.pass == PassKind::forward;
  issue(actor, is_forward ? ahead : *number);
  const TaskId is_whole = whole(actor, *number);
  issue(actor, ahead);
  const TaskId last = step_.streams(actor).compute;
  return last == nothing ? is_whole : last;
}

/// Gatherings up to that one.
void Units::issue(ActorId actor, std::size_t last) {
  State& state = states_[actor];
  const Uses& uses = uses_of(actor);
  while (state.gathered.size() <= last && state.gathered.size() < uses.gatherings.size()) {
    const auto& [tag, unit] = uses.gatherings[state.gathered.size()];
    if (shared_elements(actor, unit) == 0) {
      state.gathered.push_back(nothing);
      continue;
    }
    const TaskId copied = step_.copy(actor, {shards_in(shard_elements(actor, unit), plan_)}, tag, nothing);
    TaskId gathered = copied;
    for (const bool experts : {false, true}) {
      const Bytes bytes = size_of(Precision::bf16) * of_scope(unit, experts);
      if (bytes.count == 0 || sharers(actor, experts).group_size() == 1) continue;
      const Scope scope = scope_of_shards(experts);
      const PatternId pattern = step_.patterns().sync(actor, scope, Operation::all_gather,
                                                      *scenario_.collectives.parameters, bytes);
      gathered =
          step_.call_beside(actor, scope, Channel::gather, pattern, tag_of_parameters(tag, experts), copied);
    }
    state.gathered.push_back(gathered);
  }
}

TaskId Units::whole(ActorId actor, std::size_t gathering) {
  const auto& [tag, unit] = uses_of(actor).gatherings[gathering];
  return step_.copy(actor, {gathered_out(shared_elements(actor, unit))}, tag,
                    states_[actor].gathered[gathering]);
}

TaskId Units::produced(ActorId actor, const Tag& tag) {
  State& state = states_[actor];
  const Holdings block = block_holdings(scenario_, tag.activity, tag.layer);
  if (is_end(tag.activity)) {
    state.ends += block;
    return nothing;
  }
  state.layer += block;
  if (tag.activity != Activity::attention) return nothing;
  const std::int64_t tensors = block_tensors(scenario_, Activity::attention, tag.layer).count() +
                               block_tensors(scenario_, Activity::feed_forward, tag.layer).count();
  return reduce(actor, std::exchange(state.layer, {}), tag, tensors);
}

TaskId Units::pass_ends(ActorId actor, const Tag& tag) {
  Holdings& ends = states_[actor].ends;
  if (ends.total() == 0) return nothing;
  Tag of_ends = tag;
  of_ends.layer = -1;
  const std::int64_t tensors = ends.of(HeldPart::norm) > 0 ? 3 : 1;
  return reduce(actor, std::exchange(ends, {}), of_ends, tensors);
}

/// The parts are made once the sum of the unit before has come, whose parts are then let go.
TaskId Units::reduce(ActorId actor, const Holdings& unit, const Tag& tag, std::int64_t tensors) {
  const std::int64_t elements = shared_elements(actor, unit);
  if (elements == 0) return nothing;
  finish(actor);
  State& state = states_[actor];
  const TaskId parts =
      step_.copy(actor, {gradients_in(elements, scenario_.precision)}, tag, state.last_reduced);
  for (const bool experts : {false, true}) {
    const Bytes bytes = size_of(scenario_.precision.gradient) * of_scope(unit, experts);
    if (bytes.count == 0 || sharers(actor, experts).group_size() == 1) continue;
    const auto sum = [&](Scope scope, Operation operation, Bytes of) {
      const PatternId pattern =
          step_.patterns().sync(actor, scope, operation, *scenario_.collectives.gradients, of);
      state.last_reduced =
          step_.call_beside(actor, scope, Channel::gradient, pattern, tag_of_gradients(experts), parts);
    };
    sum(scope_of_shards(experts), Operation::reduce_scatter, bytes);
    const std::int64_t shards = sharers(actor, experts).group_size();
    if (replicas(actor, experts) > 1)
      sum(experts ? Scope::expert_replica : Scope::replica, Operation::all_reduce,
          Bytes{shard_of(bytes.count, shards)});
  }
  const std::size_t number = tag.layer >= 0
                                 ? static_cast<std::size_t>(tag.layer)
                                 : scenario_.model.layers.size() + static_cast<std::size_t>(tag.chunk > 0);
  const bool adds = state.has_sum[number];
  state.has_sum[number] = true;
  state.under_way = {{shard_elements(actor, unit), tensors}, adds};
  return parts;
}

void Units::finish(ActorId actor) {
  if (!plan_.has_units()) return;
  State& state = states_[actor];
  const std::optional<Reduced> reduced = std::exchange(state.under_way, std::nullopt);
  if (!reduced) return;
  const std::vector<Op> ops = gradients_out(reduced->shard, plan_, scenario_.precision, reduced->adds);
  if (!ops.empty()) step_.copy(actor, ops, {}, state.last_reduced);
}

const Communicator& Units::sharers(ActorId actor, bool experts) const {
  return step_.communicators().of(scope_of_shards(experts), actor);
}

Scope Units::scope_of_shards(bool experts) const {
  if (plan_.shard_ranks == 0) return experts ? Scope::expert_data : Scope::data;
  return experts ? Scope::expert_shard : Scope::shard;
}

std::int64_t Units::replicas(ActorId actor, bool experts) const {
  if (plan_.shard_ranks == 0) return 1;
  return step_.communicators().of(experts ? Scope::expert_replica : Scope::replica, actor).group_size();
}

std::int64_t Units::shared_elements(ActorId actor, const Holdings& unit) const {
  std::int64_t elements = 0;
  for (const bool experts : {false, true})
    elements += sharers(actor, experts).group_size() > 1 ? of_scope(unit, experts) : 0;
  return elements;
}

std::int64_t Units::shard_elements(ActorId actor, const Holdings& unit) const {
  std::int64_t elements = 0;
  for (const bool experts : {false, true}) {
    const std::int64_t ranks = sharers(actor, experts).group_size();
    elements += ranks > 1 ? shard_of(of_scope(unit, experts), ranks) : 0;
  }
  return elements;
}

}  // namespace moesim
