// A communication by itself, as a task graph.
#pragma once

#include "sim/graph/task_graph.hpp"
#include "sim/lower/communicators.hpp"
#include "sim/scenario/scenario.hpp"

namespace moesim {

/// One task: all groups at once, on one actor that stands for every device.
TaskGraph lower_alone(const OneCommunication& communication, const Fabric& fabric, const Detail& detail);

}  // namespace moesim
