#include "sim/run/draws.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "models/base/random.hpp"
#include "sim/report/error_model.hpp"
#include "sim/run/in_parallel.hpp"
#include "sim/run/simulate.hpp"

namespace moesim {
namespace {

/// A graph in which no two patterns have loads in common, so that each can be scaled by itself.
TaskGraph with_loads_apart(const TaskGraph& graph) {
  TaskGraph apart = graph;
  apart.loads.clear();
  for (Pattern& pattern : apart.pattern_table) {
    const auto loads = graph.loads_of(pattern);
    pattern.first_load = static_cast<std::uint32_t>(apart.loads.size());
    apart.loads.insert(apart.loads.end(), loads.begin(), loads.end());
  }
  return apart;
}

/// The tasks of a run, by what their times are made of.
class Scaling {
 public:
  explicit Scaling(const Simulation& run)
      : model_(run.work, run.work.scenario.certainty), graph_(with_loads_apart(run.graph)) {
    of_patterns_.assign(graph_.pattern_table.size(), 0);
    makings_.push_back(&nothing_known_);
    for (TaskId task = 0; task < graph_.size(); ++task) {
      const std::uint32_t making = making_of(model_.parts_of(run.graph, task));
      of_tasks_.push_back(making);
      if (graph_.kinds[task] != TaskKind::coflow) continue;
      const PatternId pattern = graph_.patterns[task];
      of_patterns_[pattern] = making;
      const Pattern& whole = graph_.pattern_table[pattern];
      for (std::uint32_t part = 0; part < whole.part_count; ++part)
        of_patterns_[whole.first_part + part] = making;
    }
  }

  /// How long the step takes with one draw of all errors. `scratch` is a copy of graph().
  double draw(std::size_t number, const Engine& engine, TaskGraph& scratch) const {
    RandomStream stream = Random(0).stream("certainty", number);
    std::vector<double> errors;
    for (const ErrorFactor& factor : model_.factors()) errors.push_back(factor.deviation * stream.normal());
    const auto longer = [&](const std::vector<FactorId>& factors) {
      return std::exp(std::accumulate(factors.begin(), factors.end(), 0.0,
                                      [&](double sum, FactorId factor) { return sum + errors[factor]; }));
    };
    std::vector<double> by(makings_.size());
    for (std::size_t i = 0; i < by.size(); ++i) {
      for (const ErringPart& part : *makings_[i]) by[i] += part.share * longer(part.factors);
    }
    scale(by, scratch);
    return to_seconds(engine.run(scratch).makespan()) * longer(model_.of_step());
  }

  const TaskGraph& graph() const { return graph_; }

 private:
  std::uint32_t making_of(const ErringParts& parts) {
    const auto [place, is_new] = numbers_.emplace(&parts, static_cast<std::uint32_t>(makings_.size()));
    if (is_new) makings_.push_back(&parts);
    return place->second;
  }

  void scale(const std::vector<double>& by, TaskGraph& scratch) const {
    for (TaskId task = 0; task < graph_.size(); ++task) {
      if (graph_.kinds[task] == TaskKind::compute)
        scratch.durations[task] = scaled(graph_.durations[task], by[of_tasks_[task]]);
    }
    for (std::size_t i = 0; i < graph_.pattern_table.size(); ++i) {
      const double factor = by[of_patterns_[i]];
      const Pattern& from = graph_.pattern_table[i];
      Pattern& pattern = scratch.pattern_table[i];
      pattern.latency = scaled(from.latency, factor);
      pattern.at_least = scaled(from.at_least, factor);
      pattern.flow_bytes = from.flow_bytes * factor;
      pattern.group_alone = from.group_alone * factor;
      for (std::uint32_t load = from.first_load; load < from.first_load + from.load_count; ++load)
        scratch.loads[load].bytes = graph_.loads[load].bytes * factor;
    }
  }

  ErrorModel model_;
  TaskGraph graph_;
  const ErringParts nothing_known_{{}};
  std::map<const ErringParts*, std::uint32_t> numbers_;
  std::vector<const ErringParts*> makings_;
  std::vector<std::uint32_t> of_tasks_, of_patterns_;  // into makings_
};

/// The value that a share of the sorted values do not exceed.
double quantile(const std::vector<double>& sorted, double share) {
  const auto rank = static_cast<std::size_t>(std::ceil(share * static_cast<double>(sorted.size()) - 1e-9));
  return sorted[std::max<std::size_t>(rank, 1) - 1];
}

}  // namespace

ExpectedError drawn_error(const Simulation& run, ExpectedError error, unsigned jobs) {
  const Scenario& scenario = run.work.scenario;
  const Scaling scaling(run);
  std::vector<double> steps(static_cast<std::size_t>(scenario.certainty.draws));
  std::vector<TaskGraph> scratch(std::max(1U, jobs), scaling.graph());
  in_parallel(steps.size(), jobs, [&](std::size_t draw, std::size_t thread) {
    steps[draw] = scaling.draw(draw, *scenario.engine, scratch[thread]);
  });
  std::sort(steps.begin(), steps.end());
  const double step = to_seconds(run.timeline.makespan());
  error.low = from_seconds(std::min(step, quantile(steps, (1 - bar_level) / 2)));
  error.high = from_seconds(std::max(step, quantile(steps, (1 + bar_level) / 2)));
  error.draws = scenario.certainty.draws;
  return error;
}

}  // namespace moesim
