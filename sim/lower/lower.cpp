#include "sim/lower/lower.hpp"

#include "sim/lower/alone.hpp"
#include "sim/lower/disturb.hpp"
#include "sim/lower/fixed.hpp"
#include "sim/lower/passes.hpp"
#include "sim/lower/step.hpp"

namespace moesim {

namespace {

TaskGraph lower_passes(const Scenario& scenario, Loading loading, Fold& fold) {
  Step step(scenario, loading);
  Synchronisation sync(step);
  const std::vector<ActorPlace>& actors = step.communicators().actors();
  for (ActorId actor = 0; actor < actors.size(); ++actor) {
    const std::vector<Slot>& slots =
        scenario.order.ranks[static_cast<std::size_t>(actors[actor].pipeline_rank)];
    for (std::size_t i = 0; i < slots.size(); ++i) {
      if (slots[i].overlapped) {
        lower_pair(step, sync, actor, slots[i], slots[i + 1]);
        ++i;
      } else {
        lower_slot(step, sync, actor, slots[i]);
      }
    }
    sync.update(actor);
  }
  fold = step.communicators().fold();
  return std::move(step).finish();
}

}  // namespace

TaskGraph lower(const Scenario& scenario, Loading loading) {
  if (scenario.communication) return lower_alone(*scenario.communication, scenario.fabric());
  Fold fold{.count = 1, .representatives = {0}};
  TaskGraph graph =
      scenario.fixed ? lower_fixed(scenario.order, *scenario.fixed) : lower_passes(scenario, loading, fold);
  if (scenario.faults.change_steps()) disturb(graph, scenario, fold);
  return graph;
}

}  // namespace moesim
