// The work of a scenario to its task graph: every choice is made here, none is left to the engine.
#pragma once

#include "sim/graph/task_graph.hpp"
#include "sim/work/fold.hpp"
#include "sim/work/work.hpp"

namespace moesim {

/// All tasks of one training step. Compute of an actor is in the order of its schedule; a communication that
/// blocks its pass holds up the passes behind it. Throws RunError where tasks would wait for each other.
TaskGraph lower(const Work& work, Loading loading = Loading::as_routed);

}  // namespace moesim
