// Numbers over the time of a step: memory by part, microbatches in flight, the use of links.
#pragma once

#include <string>
#include <vector>

#include "sim/graph/task_graph.hpp"
#include "sim/graph/timeline.hpp"
#include "sim/work/work.hpp"

namespace moesim {

/// What a counter shows from a moment on.
struct Sample {
  Time time;
  std::vector<double> values;  ///< by part
};

/// One number over time, or several that add up.
struct Counter {
  ActorId actor = nothing;  ///< whose it is; nothing: all links'
  std::string name;
  std::vector<std::string> parts;
  std::vector<Sample> samples{};  ///< in the order of time, one for each moment at which something changes

  /// At one moment the last values count.
  void set(Time time, std::vector<double> values);
};

/// For each pipeline rank, on the device that holds most: microbatches in flight, and with a model its memory
/// in bytes by part, without what no tensor holds. Activations come and go as Lifetimes has it, at the start
/// and the end of the tasks that keep them and let them go, so that the most is what the report says. For
/// each class of links, with a cluster: the use in percent of what all of them can carry, each communication
/// at its mean rate from its first byte to its end.
std::vector<Counter> counters_of(const Work& work, const TaskGraph& graph, const Timeline& timeline);

}  // namespace moesim
