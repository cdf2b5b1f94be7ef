// When things happened.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "models/base/units.hpp"
#include "sim/graph/task_graph.hpp"

namespace moesim {

/// Start and end of each task, by the graph's numbers.
struct Timeline {
  std::vector<Time> starts, ends;
  std::uint64_t events = 0;  ///< that the engine handled
  /// The last end; zero for an empty graph.
  Time makespan() const;
};

/// A hash of all starts and ends, in 16 hexadecimal digits: same input, same fingerprint.
std::string fingerprint(const Timeline& timeline);

/// A step of the critical path.
struct CriticalStep {
  TaskId task = nothing;
  Time share;  ///< of the makespan that is this task's
};

/// The chain of tasks that decided the end: from the last task back, each time to the predecessor that ended
/// last. Shares add up to the makespan; waiting for a shared stream counts to the task that waits.
std::vector<CriticalStep> critical_path(const TaskGraph& graph, const Timeline& timeline);

/// Throws RunError where a task did not run once, ran before a predecessor ended, or took no time though it
/// should.
void check(const TaskGraph& graph, const Timeline& timeline);

}  // namespace moesim
