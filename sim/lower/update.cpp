// What follows the last pass: gradients are summed over the ranks that hold the same parameters, the
// optimizer runs, and with ZeRO-1 the updated shards are gathered again.
#include <array>

#include "models/base/error.hpp"
#include "sim/lower/passes.hpp"
#include "sim/scenario/holdings.hpp"

namespace moesim {
namespace {

/// One kind of parameters: who synchronises it, how many there are.
struct Shared {
  Scope scope;
  std::int64_t elements;
  std::int64_t ranks;
};

std::array<Shared, 2> shared_parameters(Step& step, ActorId actor) {
  const Holdings held = holdings(step.scenario(), step.communicators().actors()[actor].pipeline_rank);
  return {
      {{Scope::data, held.replicated, step.communicators().of(Scope::data, actor).group_size()},
       {Scope::expert_data, held.experts, step.communicators().of(Scope::expert_data, actor).group_size()}}};
}

Tag update_tag(Step& step, ActorId actor, Work work) {
  Tag tag;
  tag.work = work;
  if (is_communication(work)) return tag;  // shared by the ranks of a group
  tag.stage = static_cast<std::int16_t>(step.communicators().actors()[actor].pipeline_rank);
  return tag;
}

void synchronise(Step& step, ActorId actor, Work work, Operation operation, const Collective& collective,
                 Bytes element) {
  for (const Shared& shared : shared_parameters(step, actor)) {
    if (shared.ranks == 1 || shared.elements == 0) continue;
    const PatternId pattern =
        step.sync_pattern(actor, shared.scope, operation, collective, element * shared.elements);
    step.call(actor, shared.scope, pattern, update_tag(step, actor, work));
  }
  step.join(actor);
}

/// Copies of an expert have each seen part of its tokens: their gradients are summed inside the expert group.
/// Each then updates its own copy, so parameters need no traffic of their own.
void synchronise_copies(Step& step, ActorId actor) {
  const PatternId copies = step.copies_pattern(actor);
  if (copies == nothing) return;
  step.call(actor, Scope::expert, copies, update_tag(step, actor, Work::gradient));
  step.join(actor);
}

}  // namespace

void lower_update(Step& step, ActorId actor) {
  const Scenario& scenario = step.scenario();
  const bool sharded = scenario.gradient_sync == GradientSync::zero1;
  step.join(actor);
  synchronise_copies(step, actor);
  synchronise(step, actor, Work::gradient, sharded ? Operation::reduce_scatter : Operation::all_reduce,
              *scenario.collectives.gradients, size_of(scenario.precision.gradient));
  std::int64_t updated = 0;
  for (const Shared& shared : shared_parameters(step, actor)) {
    updated += sharded ? (shared.elements + shared.ranks - 1) / shared.ranks : shared.elements;
  }
  const Op optimizer = make_streaming(OpKind::elementwise, "optimizer", OpPass::backward_weight, updated, 1,
                                      optimizer_bytes_moved(scenario.precision));
  step.compute(actor, time_of({optimizer}, scenario), update_tag(step, actor, Work::optimizer));
  step.join(actor);
  if (sharded) {
    synchronise(step, actor, Work::parameter, Operation::all_gather, *scenario.collectives.parameters,
                size_of(Precision::bf16));
  }
}

}  // namespace moesim
