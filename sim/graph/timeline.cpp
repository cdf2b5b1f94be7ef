// What a timeline says: its end, its hash, the critical path, and whether it is possible at
// all.
#include "sim/graph/timeline.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <bit>

#include "models/base/error.hpp"
#include "sim/graph/causes.hpp"

namespace moesim {
namespace {

/// FNV-1a (Fowler, Noll, Vo) over words instead of bytes, with a rotation so that high bits reach low ones.
std::uint64_t hashed(std::uint64_t hash, const std::vector<Time>& times) {
  for (const Time time : times) {
    hash = std::rotl(hash ^ static_cast<std::uint64_t>(time.count), 29) * 0x00000100000001b3;
  }
  return hash;
}

[[noreturn]] void fail(const TaskGraph& graph, TaskId task, const std::string& what) {
  throw RunError(fmt::format("({}) {}", describe(graph, task), what));
}

/// How long a task takes at least, to the picosecond.
Time shortest(const TaskGraph& graph, const std::vector<RealTime>& alone, TaskId task) {
  if (graph.kinds[task] == TaskKind::compute) return graph.durations[task];
  if (graph.kinds[task] == TaskKind::barrier) return {};
  const PatternId pattern = graph.patterns[task];
  return graph.pattern_table[pattern].latency + rounded(alone[pattern]);
}

}  // namespace

Time Timeline::makespan() const {
  return ends.empty() ? Time{} : *std::max_element(ends.begin(), ends.end());
}

std::string fingerprint(const Timeline& timeline) {
  return fmt::format("{:016x}", hashed(hashed(0xcbf29ce484222325, timeline.starts), timeline.ends));
}

std::vector<TaskId> last_before(const TaskGraph& graph, const Timeline& timeline) {
  std::vector<TaskId> befores(graph.size(), nothing);
  for (TaskId task = 0; task < graph.size(); ++task) {
    for (const TaskId next : graph.successors_of(task)) {
      TaskId& last = befores[next];
      if (last == nothing || timeline.ends[last] < timeline.ends[task]) last = task;
    }
  }
  return befores;
}

std::vector<CriticalStep> critical_path(const TaskGraph& graph, const Timeline& timeline) {
  const std::vector<TaskId> befores = last_before(graph, timeline);
  std::vector<CriticalStep> path;
  if (graph.size() == 0) return path;
  const auto latest = std::max_element(timeline.ends.begin(), timeline.ends.end());
  for (TaskId task = static_cast<TaskId>(latest - timeline.ends.begin()); task != nothing;) {
    const TaskId before = befores[task];
    path.push_back({task, timeline.ends[task] - (before == nothing ? Time{} : timeline.ends[before])});
    task = before;
  }
  return path;
}

void check(const TaskGraph& graph, const Timeline& timeline) {
  if (timeline.starts.size() != graph.size() || timeline.ends.size() != graph.size()) {
    throw RunError(fmt::format("a graph of {} tasks has {} starts and {} ends", graph.size(),
                               timeline.starts.size(), timeline.ends.size()));
  }
  const std::vector<RealTime> alone = alone_times(graph);
  for (TaskId task = 0; task < graph.size(); ++task) {
    const Time start = timeline.starts[task], end = timeline.ends[task];
    if (start < Time{}) fail(graph, task, "never ran");
    if (end < start) fail(graph, task, fmt::format("ends {} before its start", print(start - end)));
    if (end == start && shortest(graph, alone, task) > Time{}) {
      fail(graph, task, fmt::format("takes no time, but {} alone", print(shortest(graph, alone, task))));
    }
    for (const TaskId next : graph.successors_of(task)) {
      if (timeline.starts[next] >= end || timeline.starts[next] < Time{}) continue;
      fail(graph, next,
           fmt::format("starts {} before the end of ({})", print(end - timeline.starts[next]),
                       describe(graph, task)));
    }
  }
}

}  // namespace moesim
