// Experts on their way to other ranks, as a task graph.
#pragma once

#include <span>

#include "sim/collective/collective.hpp"
#include "sim/graph/task_graph.hpp"
#include "sim/scenario/scenario.hpp"

namespace moesim {

/// One task: all flows at once, each as a send between stages goes, on one actor that stands for every
/// device. There is at least one flow.
TaskGraph lower_moves(const Scenario& scenario, std::span<const Flow> flows);

}  // namespace moesim
