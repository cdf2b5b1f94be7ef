// The passes of the schedule as tasks.
#pragma once

#include "sim/lower/step.hpp"
#include "sim/lower/synchronisation.hpp"

namespace moesim {

/// Adds the tasks of one slot of an actor's order.
void lower_slot(StepLowering& step, Synchronisation& sync, ActorId actor, const Slot& slot);

/// Adds the tasks of a forward and the full backward that shares the device with it.
void lower_pair(StepLowering& step, Synchronisation& sync, ActorId actor, const Slot& forward,
                const Slot& backward);

}  // namespace moesim
