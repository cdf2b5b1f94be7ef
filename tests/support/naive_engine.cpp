// The slow reference of the fluid engine: nothing is remembered between events but how far each task is.
#include <algorithm>
#include <cmath>
#include <limits>

#include "tests/support/graphs.hpp"

namespace moesim::testing {
namespace {

constexpr double never = std::numeric_limits<double>::infinity();

enum class Phase : std::uint8_t { waiting, latency, working, done };

class Naive {
 public:
  Naive(const TaskGraph& graph, std::span<const Rate> links)
      : graph_(graph),
        links_(links),
        phases_(graph.size(), Phase::waiting),
        left_(graph.size(), 0),
        speeds_(graph.size(), 0),
        ends_(graph.size(), -1),
        waiting_(graph.predecessor_counts) {}

  std::vector<double> ends() {
    for (TaskId task = 0; task < graph_.size(); ++task) {
      if (graph_.predecessor_counts[task] == 0) start(task);
    }
    for (double step = next(); step < never; step = next()) move(step);
    return ends_;
  }

 private:
  const Pattern& pattern(TaskId task) const { return graph_.pattern_table[graph_.patterns[task]]; }

  void start(TaskId task) {
    phases_[task] = Phase::working;
    left_[task] = 1;
    if (graph_.kinds[task] == TaskKind::coflow) {
      if (pattern(task).latency > Time{}) {
        phases_[task] = Phase::latency;
        left_[task] = static_cast<double>(pattern(task).latency.count);
      } else if (is_empty(task)) {
        end(task);
      }
    } else if (graph_.durations[task] == Time{}) {
      end(task);
    }
  }

  bool is_empty(TaskId task) const {
    return pattern(task).link_load_count == 0 && pattern(task).at_least == Time{};
  }

  void end(TaskId task) {
    phases_[task] = Phase::done;
    ends_[task] = now_;
    for (const TaskId after : graph_.successors_of(task)) {
      if (--waiting_[after] == 0) start(after);
    }
  }

  /// Sets all speeds; returns how long until the first end.
  double next() {
    share();
    double step = never;
    for (TaskId task = 0; task < graph_.size(); ++task) {
      if (phases_[task] == Phase::latency) speeds_[task] = 1;
      if (phases_[task] == Phase::working && graph_.kinds[task] == TaskKind::compute)
        speeds_[task] = compute_speed(task);
      if (phases_[task] != Phase::latency && phases_[task] != Phase::working) continue;
      step = std::min(step, left_[task] / speeds_[task]);
    }
    return step;
  }

  void move(double step) {
    now_ += step;
    std::vector<TaskId> over;
    for (TaskId task = 0; task < graph_.size(); ++task) {
      if (phases_[task] != Phase::latency && phases_[task] != Phase::working) continue;
      const bool ends_now = left_[task] / speeds_[task] <= step;
      left_[task] -= speeds_[task] * step;
      if (ends_now) over.push_back(task);
    }
    for (const TaskId task : over) {
      if (phases_[task] == Phase::latency && !is_empty(task)) {
        phases_[task] = Phase::working;
        left_[task] = 1;
      } else {
        end(task);
      }
    }
  }

  bool is_at(TaskId coflow, ActorId actor) const {
    return std::ranges::find(graph_.members_of(pattern(coflow)), actor) !=
           graph_.members_of(pattern(coflow)).end();
  }

  double compute_speed(TaskId task) const {
    double slowdown = 1;
    for (TaskId other = 0; other < graph_.size(); ++other) {
      const bool is_active = phases_[other] == Phase::latency || phases_[other] == Phase::working;
      if (!is_active || graph_.kinds[other] != TaskKind::coflow || !pattern(other).holds_multiprocessors)
        continue;
      if (is_at(other, graph_.actors[task])) slowdown = static_cast<double>(graph_.slowdowns[task]);
    }
    return 1 / (slowdown * static_cast<double>(graph_.durations[task].count));
  }

  bool is_flowing(TaskId task) const {
    return graph_.kinds[task] == TaskKind::coflow && phases_[task] == Phase::working;
  }

  /// The most that a coflow may advance in a picosecond, whatever the links do.
  double limit(TaskId task) const {
    const double at_least = static_cast<double>(pattern(task).at_least.count);
    double alone = at_least;
    for (const LinkLoad& load : graph_.link_loads_of(pattern(task))) {
      alone = std::max(alone, load.bytes / links_[load.link].count * 1e12);
    }
    bool slowed = false;
    for (TaskId other = 0; other < graph_.size(); ++other) {
      const bool computes = phases_[other] == Phase::working && graph_.kinds[other] == TaskKind::compute;
      slowed = slowed || (computes && is_at(task, graph_.actors[other]));
    }
    return 1 / (slowed && pattern(task).slowdown > 1 ? alone * pattern(task).slowdown : at_least);
  }

  /// Progressive filling over all flowing coflows and all links.
  void share() {
    std::vector<TaskId> rising;
    for (TaskId task = 0; task < graph_.size(); ++task) {
      if (is_flowing(task)) rising.push_back(task);
    }
    std::vector<double> left(links_.size());
    for (std::size_t link = 0; link < links_.size(); ++link) left[link] = links_[link].count * 1e-12;
    while (!rising.empty()) {
      std::vector<double> weights(links_.size(), 0);
      for (const TaskId task : rising) {
        for (const LinkLoad& load : graph_.link_loads_of(pattern(task))) {
          weights[load.link] += load.bytes / pattern(task).flow_bytes;
        }
      }
      const auto level_of = [&](TaskId task) {
        double level = limit(task) * pattern(task).flow_bytes;
        for (const LinkLoad& load : graph_.link_loads_of(pattern(task))) {
          level = std::min(level, std::max(0.0, left[load.link]) / weights[load.link]);
        }
        return level;
      };
      double lowest = never;
      for (const TaskId task : rising) lowest = std::min(lowest, level_of(task));
      std::vector<TaskId> frozen, others;
      for (const TaskId task : rising) (level_of(task) <= lowest ? frozen : others).push_back(task);
      for (const TaskId task : frozen) {
        speeds_[task] = lowest / pattern(task).flow_bytes;
        for (const LinkLoad& load : graph_.link_loads_of(pattern(task)))
          left[load.link] -= load.bytes * speeds_[task];
      }
      rising = others;
    }
  }

  const TaskGraph& graph_;
  std::span<const Rate> links_;
  std::vector<Phase> phases_;
  std::vector<double> left_, speeds_, ends_;
  std::vector<std::uint32_t> waiting_;
  double now_ = 0;
};

}  // namespace

std::vector<double> naive_ends(const TaskGraph& graph, std::span<const Rate> links) {
  return Naive(graph, links).ends();
}

}  // namespace moesim::testing
