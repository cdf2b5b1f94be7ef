// The timeline as a Chrome trace, which Perfetto (https://ui.perfetto.dev) opens.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <tuple>
#include <vector>

#include "sim/graph/task_graph.hpp"
#include "sim/graph/timeline.hpp"
#include "sim/report/counters.hpp"
#include "sim/work/work.hpp"

namespace moesim {

/// What the actors of a scenario's graph are called: "pipeline rank 3 (128 devices)" for a folded class,
/// "device 384: pipeline rank 3" where every device is an actor, "device 384 and 3 alike: pipeline rank 3"
/// where the classes of a pipeline rank are of all sorts.
std::vector<std::string> actor_names(const Scenario& scenario, const TaskGraph& graph);

/// The other half of an overlapped pair, by either half's pipeline rank, chunk, microbatch and whether it is
/// the forward.
using Pairs = std::map<std::tuple<std::int64_t, std::int64_t, std::int64_t, bool>, Slot>;

/// What a trace shows beside its tasks.
struct Tracks {
  std::vector<std::string> actors;  ///< their names
  std::vector<Counter> counters{};
  Pairs pairs{};
};
Tracks tracks_of(const Work& work, const TaskGraph& graph, const Timeline& timeline);

/// JSON in the Trace Event Format: a process for each actor; a lane (thread) for each of its streams
/// (compute, exchange, pipeline receive, gradients), and further ones ("exchange 2") where tasks of one
/// stream overlap; one complete event for each task, `ts` and `dur` in microseconds, exact to the picosecond.
/// One of an overlapped pair says in "beside" which pass it shares the device with. Barriers are left out. A
/// communication appears on every actor that takes part in it, with the bytes of all of them. Counters
/// follow, those of links in a process of their own. What was run stands in "otherData", as "title".
std::string write_trace(const std::string& title, const Tracks& tracks, const TaskGraph& graph,
                        const Timeline& timeline);

}  // namespace moesim
