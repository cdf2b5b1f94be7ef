#include "sim/run/drift.hpp"

#include <algorithm>
#include <utility>

#include "sim/lower/moves.hpp"
#include "sim/run/in_parallel.hpp"
#include "sim/work/drift_course.hpp"

namespace moesim {
namespace {

/// So many steps have their loads in memory at a time.
constexpr std::int64_t most_at_once = 256;

/// Experts on their way, by themselves.
Time time_of_moves(const Scenario& scenario, const std::vector<Flow>& moves) {
  return moves.empty() ? Time{} : scenario.engine->run(lower_moves(scenario, moves)).makespan();
}

std::int64_t bytes_of(const std::vector<Flow>& moves) {
  double bytes = 0;
  for (const Flow& flow : moves) bytes += flow.bytes;
  return from_bytes(bytes).count;
}

/// Steps of the run that follow each other, and what they come to.
class Stretch {
 public:
  /// Goes on behind a step that came to `before`.
  Stretch(std::vector<CourseStep> steps, const StepFigures& before)
      : steps_(std::move(steps)), moving_(steps_.size()) {
    figures_.push_back(before);
    for (std::size_t i = 0; i < steps_.size(); ++i) {
      if (!steps_[i].is_as_before) differing_.push_back(i);
      of_step_.push_back(differing_.size());
    }
    figures_.resize(differing_.size() + 1);
  }

  /// `scenarios` are copies of the run's, one a thread.
  void run(std::vector<Scenario>& scenarios) {
    in_parallel(differing_.size(), static_cast<unsigned>(scenarios.size()),
                [&](std::size_t piece, std::size_t thread) {
                  const CourseStep& step = steps_[differing_[piece]];
                  moving_[differing_[piece]] = time_of_moves(scenarios[thread], step.moves);
                  if (step.number == 0) return;  // known: it is what stands before
                  step.become(scenarios[thread]);
                  figures_[piece + 1] = figures_of_step(scenarios[thread]);
                });
    if (!steps_.empty() && steps_.front().number == 0) figures_[1] = figures_[0];
  }

  void add_to(std::vector<DriftStep>& all, double hidden) const {
    for (std::size_t i = 0; i < steps_.size(); ++i) {
      const StepFigures& figures = figures_[of_step_[i]];
      const Time waiting = scaled(moving_[i], 1 - hidden);
      all.push_back({.time = figures.time + waiting,
                     .load_max_over_mean = figures.routing.load_max_over_mean,
                     .rank_load_max_over_mean = figures.routing.rank_load_max_over_mean,
                     .dropped_token_fraction = figures.routing.dropped_token_fraction,
                     .moving = moving_[i],
                     .waiting = waiting,
                     .bytes = bytes_of(steps_[i].moves)});
    }
  }
  std::int64_t simulated() const { return std::ssize(differing_); }
  const StepFigures& last() const { return figures_.back(); }

 private:
  std::vector<CourseStep> steps_;
  std::vector<std::size_t> differing_;  // steps that are unlike those before them
  std::vector<std::size_t> of_step_;    // by step: its place in figures_
  std::vector<StepFigures> figures_;    // of what came before, then of steps that differ
  std::vector<Time> moving_;            // by step
};

}  // namespace

DriftReport drift_of(const Scenario& scenario, const StepFigures& first, unsigned jobs) {
  const DriftRun& run = *scenario.drift;
  std::vector<Scenario> scenarios(std::max(1U, jobs), scenario);
  DriftCourse course(scenario);
  std::vector<DriftStep> steps;
  StepFigures before = first;
  std::int64_t simulated = 0;
  while (std::ssize(steps) < run.steps) {
    std::vector<CourseStep> next;
    for (std::int64_t i = std::min(most_at_once, run.steps - std::ssize(steps)); i > 0; --i)
      next.push_back(course.next());
    Stretch stretch(std::move(next), before);
    stretch.run(scenarios);
    stretch.add_to(steps, run.rebalance.hidden);
    simulated += stretch.simulated();
    before = stretch.last();
  }
  return drift_report(std::move(steps), scenario.batch.tokens(), simulated);
}

}  // namespace moesim
