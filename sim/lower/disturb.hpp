// Faults as they show in a task graph.
#pragma once

#include "sim/graph/task_graph.hpp"
#include "sim/scenario/scenario.hpp"
#include "sim/work/fold.hpp"

namespace moesim {

/// Slows the actors that are stragglers, varies the durations of compute tasks, and says for how many devices
/// each actor stands. Links are those of the fabric already.
void disturb(TaskGraph& graph, const Scenario& scenario, const Fold& fold);

}  // namespace moesim
