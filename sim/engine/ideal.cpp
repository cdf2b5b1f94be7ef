// The ideal engine: no contention. Every task takes as long as alone, so a task ends at the length of the
// longest path to it. Groups that one communication stands for do not contend either: each takes as long as
// alone. The oracle of the others, and the fastest estimate.
#include <algorithm>

#include "sim/engine/engine.hpp"

namespace moesim {

namespace {

class Ideal final : public Engine {
 public:
  bool shares_links() const override { return false; }

  Timeline run(const TaskGraph& graph) const override {
    std::vector<Time> coflow_times;
    const std::vector<RealTime> alone = group_times(graph);
    for (std::size_t i = 0; i < alone.size(); ++i) {
      coflow_times.push_back(after(graph.pattern_table[i].latency, rounded(alone[i])));
    }
    Timeline timeline{std::vector<Time>(graph.size()), std::vector<Time>(graph.size()), graph.size()};
    std::vector<std::uint32_t> waiting = graph.predecessor_counts;
    std::vector<TaskId> ready;
    for (TaskId task = 0; task < graph.size(); ++task) {
      if (waiting[task] == 0) ready.push_back(task);
    }
    std::size_t finished = 0;
    for (; !ready.empty(); ++finished) {
      const TaskId task = ready.back();
      ready.pop_back();
      const bool is_coflow = graph.kinds[task] == TaskKind::coflow;
      const Time span =
          is_coflow ? coflow_times[graph.patterns[task]] : graph.duration_from(task, timeline.starts[task]);
      const Time end = after(timeline.starts[task], span);
      timeline.ends[task] = end;
      for (const TaskId next : graph.successors_of(task)) {
        timeline.starts[next] = std::max(timeline.starts[next], end);
        if (--waiting[next] == 0) ready.push_back(next);
      }
    }
    check_finished(graph, finished, waiting);
    return timeline;
  }
};

}  // namespace

extern constexpr Entry<Engine> ideal_engine{
    "ideal", "no contention: every task takes as long as it would alone",
    [](Reader&) -> std::unique_ptr<const Engine> { return std::make_unique<Ideal>(); }};

}  // namespace moesim
