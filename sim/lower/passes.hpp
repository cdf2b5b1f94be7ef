// The passes of the schedule as tasks.
#pragma once

#include "sim/lower/step.hpp"

namespace moesim {

/// Adds the tasks of one slot of an actor's order.
void lower_slot(Step& step, ActorId actor, const Slot& slot);

/// Adds the tasks of a forward and the full backward that shares the device with it.
void lower_pair(Step& step, ActorId actor, const Slot& forward, const Slot& backward);

/// Adds what follows an actor's last pass: gradient synchronisation, optimizer, parameters.
void lower_update(Step& step, ActorId actor);

}  // namespace moesim
