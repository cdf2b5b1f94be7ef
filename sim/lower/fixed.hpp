// A pipeline whose passes have given durations, as a task graph.
#pragma once

#include "sim/graph/task_graph.hpp"
#include "sim/schedule/replay.hpp"

namespace moesim {

/// One actor a rank; a pass is one compute task, and so is an overlapped pair (tagged as its forward). Sends
/// take their latency and occupy nobody.
TaskGraph lower_fixed(const Order& order, const PassDurations& durations);

}  // namespace moesim
