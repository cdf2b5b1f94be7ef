// The reference: the same graph on SimGrid (Casanova, Giersch, Legrand, Quinson and Suter, Versatile,
// scalable and accurate simulation of distributed applications and platforms, JPDC 74(10), 2014). SimGrid
// decides who shares what and when something ends; order, latencies and what slows whom are told to it from
// outside.
//
// Platform. One link without latency for each resource of the graph, one host for each actor. All bytes go
// from one host to another over whatever links they load: the zone answers with the route of the flow that is
// about to start. What puts more bytes on one link than on another names it more often: weights in SimGrid
// are whole numbers, of a unit that divides all loads where there is one, and else keeps a coflow's share of
// a link within 0.05 %.
//
// Compute whose speed can change is an execution with a bound on its rate; so are flows. Fair shares of
// unequal numbers of flows are sharing penalties. What cannot change its speed (plain compute, latencies) is
// a timer.
//
// A process can hold one SimGrid in its life, whose clock never restarts, so each run has a process of its
// own. Times are SimGrid's seconds in floating point, rounded to picoseconds as they are read.
#include "sim/engine/simgrid.hpp"

#include <fmt/format.h>
#include <simgrid/kernel/Timer.hpp>
#include <simgrid/s4u.hpp>

#include <algorithm>
#include <deque>

#include "models/base/error.hpp"
#include "sim/engine/engine.hpp"
#include "sim/engine/simgrid_platform.hpp"
#include "sim/engine/simgrid_weights.hpp"

namespace moesim {

namespace {

using simgrid::kernel::timer::Timer;

constexpr double unbounded = -1;
constexpr double ps = 1e-12;

/// A task, or a part of one, that SimGrid works on.
struct Progress {
  TaskId task = nothing;
  std::uint32_t computing = 0;   // coflow: members that compute
  std::uint32_t parts_left = 0;  // coflow
  Progress* whole = nullptr;     // part: its coflow
  std::vector<Progress*> parts;  // coflow
  double full_bound = unbounded, slowed_bound = unbounded;
  s4u::ActivityPtr activity;
  Action* action = nullptr;  // while it runs
};

/// What goes on at an actor.
struct ActorState {
  std::uint32_t holders = 0, computing = 0;
  std::vector<Progress*> computes;  // whose speed can change
  std::vector<Progress*> coflows;   // that compute slows
};

/// One run over one graph. Starts and ends are filled in place.
class Run {
 public:
  Run(const TaskGraph& graph, const Spans& spans)
      : graph_(graph),
        spans_(spans),
        platform_(graph),
        waiting_(graph.predecessor_counts),
        slowed_(slowed_times(graph)),
        units_(graph.pattern_table.size(), 0),
        actors_(graph.actor_count) {
    // Only noted here: SimGrid is in the middle of its own work. The timer is due at once, after all that
    // ends at this instant.
    s4u::Activity::on_completion_cb([this](const s4u::Activity& activity) {
      if (over_.empty()) Timer::set(Platform::now(), [this] { end_all(); });
      over_.push_back(activity.get_data<Progress>());
    });
  }

  /// Returns how many ends SimGrid told of.
  std::uint64_t run() {
    for (TaskId task = 0; task < graph_.size(); ++task) {
      if (graph_.predecessor_counts[task] == 0) ready_.push_back(task);
    }
    start_ready();
    platform_.run();
    if (is_too_long_) fail_too_long(Time{}, longest_time);
    check_finished(graph_, finished_, waiting_);
    return events_;
  }

 private:
  const Pattern& pattern_of(TaskId task) const { return graph_.pattern_table[graph_.patterns[task]]; }

  /// SimGrid's clock. No error may pass through SimGrid: after too long nothing more starts, and the run
  /// ends.
  Time now() {
    const double clock = Platform::now() / ps;
    is_too_long_ = is_too_long_ || clock > static_cast<double>(longest_time.count);
    return is_too_long_ ? longest_time : rounded(RealTime{clock});
  }

  /// Calls `end` after a time at constant speed.
  template <class End>
  void wait(Time span, End end) {
    const double date = Platform::now() + static_cast<double>(span.count) * ps;
    Timer::set(date, [this, end] {
      ++events_;
      end();
      start_ready();
    });
  }

  /// All that ended at this instant, in the order of tasks.
  void end_all() {
    std::vector<Progress*> over;
    over.swap(over_);
    std::ranges::stable_sort(over, {}, [](const Progress* progress) { return progress->task; });
    for (Progress* progress : over) {
      ++events_;
      progress->action = nullptr;
      graph_.kinds[progress->task] == TaskKind::coflow ? end_bytes(progress) : end_slowable(progress);
    }
    start_ready();
  }

  void finish(TaskId task) {
    spans_.ends[task] = now();
    ++finished_;
    for (const TaskId next : graph_.successors_of(task)) {
      if (--waiting_[next] == 0) ready_.push_back(next);
    }
  }

  void start_ready() {
    while (!ready_.empty() && !is_too_long_) {
      const TaskId task = ready_.back();
      ready_.pop_back();
      spans_.starts[task] = now();
      if (graph_.kinds[task] == TaskKind::coflow) {
        start_coflow(task);
      } else if (graph_.kinds[task] == TaskKind::compute && graph_.durations[task] > Time{}) {
        start_compute(task);
      } else {
        finish(task);
      }
    }
  }

  void start_compute(TaskId task) {
    const ActorId actor = graph_.actors[task];
    const double slowdown = static_cast<double>(graph_.slowdowns[task]);
    const Time duration = graph_.duration_from(task, now());
    set_computing(actor, 1);
    if (slowdown == 1) {
      return wait(duration, [this, task, actor] {
        set_computing(actor, -1);
        finish(task);
      });
    }
    Progress* progress = take(task);
    progress->full_bound = 1;
    progress->slowed_bound = 1 / slowdown;
    progress->activity =
        platform_.start_work(actor, static_cast<double>(duration.count) * ps, progress, progress->action);
    actors_[actor].computes.push_back(progress);
    set_slowed(progress, actors_[actor].holders > 0);
  }

  void end_slowable(Progress* progress) {
    const ActorId actor = graph_.actors[progress->task];
    std::erase(actors_[actor].computes, progress);
    set_computing(actor, -1);
    finish(progress->task);
    free_.push_back(progress);
  }

  void start_coflow(TaskId task) {
    hold_members(task, 1);
    if (pattern_of(task).latency == Time{}) return begin_bytes(task);
    wait(pattern_of(task).latency, [this, task] { begin_bytes(task); });
  }

  void begin_bytes(TaskId task) {
    const Pattern& pattern = pattern_of(task);
    if (pattern.load_count == 0 && pattern.at_least == Time{}) return end_coflow(task);
    Progress* const whole = take(task);
    if (pattern.slowdown > 1) {
      for (const ActorId actor : graph_.members_of(pattern)) {
        actors_[actor].coflows.push_back(whole);
        whole->computing += actors_[actor].computing > 0 ? 1 : 0;
      }
    }
    if (pattern.part_count == 0) return begin_flow(whole, graph_.patterns[task], whole->computing > 0);
    whole->parts_left = pattern.part_count;
    for (PatternId id = pattern.first_part; id < pattern.first_part + pattern.part_count; ++id) {
      Progress* const part = take(task);
      part->whole = whole;
      whole->parts.push_back(part);
      begin_flow(part, id, whole->computing > 0);
    }
  }

  /// The bytes of a coflow, or of a part of one, begin to move.
  void begin_flow(Progress* progress, PatternId id, bool slowed) {
    const Pattern& pattern = graph_.pattern_table[id];
    const double at_least = static_cast<double>(pattern.at_least.count) * ps;
    double bytes = at_least;  // without loads: seconds; else of one mention of a link
    if (pattern.load_count == 0) {
      progress->activity = platform_.start_work(nothing, at_least, progress, progress->action);
    } else {
      if (units_[id] == 0) units_[id] = unit_of(graph_, pattern);
      bytes = units_[id];
      for (const Load& load : graph_.loads_of(pattern)) {
        platform_.add_to_route(load.resource, std::llround(load.bytes / bytes));
      }
      progress->activity = platform_.start_flow(bytes, progress, progress->action);
      progress->action->set_sharing_penalty(pattern.flow_bytes / bytes);
    }
    progress->full_bound = at_least > 0 ? bytes / at_least : unbounded;
    progress->slowed_bound = bytes / (slowed_[id].count * ps);
    set_slowed(progress, slowed && pattern.slowdown > 1);
  }

  void end_bytes(Progress* progress) {
    if (progress->whole != nullptr) {
      progress = progress->whole;
      if (--progress->parts_left > 0) return;
      free_.insert(free_.end(), progress->parts.begin(), progress->parts.end());
    }
    const Pattern& pattern = pattern_of(progress->task);
    if (pattern.slowdown > 1) {
      for (const ActorId actor : graph_.members_of(pattern)) std::erase(actors_[actor].coflows, progress);
    }
    end_coflow(progress->task);
    free_.push_back(progress);
  }

  void end_coflow(TaskId task) {
    hold_members(task, -1);
    finish(task);
  }

  /// Communication kernels take or give back multiprocessors.
  void hold_members(TaskId task, int more) {
    if (!pattern_of(task).holds_multiprocessors) return;
    for (const ActorId actor : graph_.members_of(pattern_of(task))) {
      ActorState& state = actors_[actor];
      const bool was_held = state.holders > 0;
      state.holders += static_cast<std::uint32_t>(more);
      if (was_held == (state.holders > 0)) continue;
      for (Progress* progress : state.computes) set_slowed(progress, !was_held);
    }
  }

  void set_computing(ActorId actor, int more) {
    ActorState& state = actors_[actor];
    const bool was_busy = state.computing > 0;
    state.computing += static_cast<std::uint32_t>(more);
    if (was_busy == (state.computing > 0)) return;
    for (Progress* coflow : state.coflows) {
      const bool was_slowed = coflow->computing > 0;
      coflow->computing += static_cast<std::uint32_t>(more);
      if (was_slowed == (coflow->computing > 0)) continue;
      set_slowed(coflow, !was_slowed);
      for (Progress* part : coflow->parts) set_slowed(part, !was_slowed);
    }
  }

  static void set_slowed(Progress* progress, bool slowed) {
    if (progress->action == nullptr) return;  // over, or a coflow in parts
    progress->action->set_bound(slowed ? progress->slowed_bound : progress->full_bound);
  }

  Progress* take(TaskId task) {
    if (free_.empty()) free_.push_back(&all_.emplace_back());
    Progress* const progress = free_.back();
    free_.pop_back();
    *progress = {};
    progress->task = task;
    return progress;
  }

  const TaskGraph& graph_;
  Spans spans_;
  Platform platform_;
  std::vector<std::uint32_t> waiting_;  // predecessors that have not ended
  std::vector<RealTime> slowed_;        // by pattern
  std::vector<double> units_;           // by pattern, once one was asked for
  std::vector<ActorState> actors_;
  std::vector<TaskId> ready_;
  std::vector<Progress*> over_;
  std::deque<Progress> all_;
  std::vector<Progress*> free_;
  std::size_t finished_ = 0;
  std::uint64_t events_ = 0;
  bool is_too_long_ = false;
};

}  // namespace
}  // namespace moesim

std::uint64_t moesim_run_on_simgrid(const moesim::TaskGraph& graph, const moesim::Spans& spans) {
  return moesim::Run(graph, spans).run();
}
