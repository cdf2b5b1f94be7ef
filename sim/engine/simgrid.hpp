// The way into simgrid.cpp, which is a module of its own: SimGrid takes longer to load than most steps take
// to simulate, so only a process that runs on it loads it.
#pragma once

#include "sim/engine/apart.hpp"

extern "C" {
/// Runs a graph on SimGrid and returns the number of events. Once in the life of a process.
std::uint64_t moesim_run_on_simgrid(const moesim::TaskGraph& graph, const moesim::Spans& spans);
}
