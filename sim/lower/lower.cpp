#include "sim/lower/lower.hpp"

#include "sim/lower/passes.hpp"
#include "sim/lower/step.hpp"

namespace moesim {

TaskGraph lower(const Scenario& scenario) {
  Step step(scenario);
  const std::vector<ActorPlace>& actors = step.communicators().actors();
  for (ActorId actor = 0; actor < actors.size(); ++actor) {
    for (const Slot& slot : scenario.order.ranks[static_cast<std::size_t>(actors[actor].pipeline_rank)]) {
      lower_slot(step, actor, slot);
    }
    lower_update(step, actor);
  }
  return std::move(step).finish();
}

}  // namespace moesim
