// The passes of the schedule as tasks.
#pragma once

#include "sim/lower/step.hpp"

namespace moesim {

/// Adds the tasks of one slot of an actor's order.
void lower_slot(Step& step, ActorId actor, const Slot& slot);

/// Adds what follows an actor's last pass: gradient synchronisation, optimizer, parameters.
void lower_update(Step& step, ActorId actor);

}  // namespace moesim
