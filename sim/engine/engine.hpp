// Runs a graph: decides who shares what, and so when things happen.
#pragma once

#include "models/config/family.hpp"
#include "sim/graph/task_graph.hpp"
#include "sim/graph/timeline.hpp"

namespace moesim {

/// An engine. A family: all members run the same graphs.
class Engine {
 public:
  virtual ~Engine() = default;
  /// Runs every task once, none before its predecessors have ended. Pure: same graph, same timeline.
  virtual Timeline run(const TaskGraph& graph) const = 0;
};

/// The members of the family.
Register<Engine> engines();

}  // namespace moesim
