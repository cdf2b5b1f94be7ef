// How long devices wait for each other at exchanges: kernels of an exchange are there as soon as the device
// has come to it, and rows move when all have.
#pragma once

#include <array>

#include "sim/graph/task_graph.hpp"
#include "sim/graph/timeline.hpp"

namespace moesim {

/// By Activity, mean over devices; zero for what is no exchange of tokens.
std::array<Time, activity_count> waiting_for_peers(const TaskGraph& graph, const Timeline& timeline);

}  // namespace moesim
