// The fluid engine. Compute runs on its actor; communication shares resources.
//
// Compute. A task starts when its predecessors have ended: order on a stream is edges, so there are no
// queues. It advances at speed 1, and at 1 / slowdown while its actor is held: while a coflow that holds
// multiprocessors has started there and not ended, its latency included, because a kernel keeps its
// multiprocessors while it waits.
//
// Communication. A coflow starts when its predecessors have ended. For its latency it loads nothing. Then all
// its bytes advance together: its state is one number, the share x in [0, 1] that has arrived, and resource r
// carries bytes(r) x'. With f the rate of each of its flows, x' = f / flow_bytes. The rates f are max-min
// fair (sharing.cpp) under
//
//   for each resource r:   sum of bytes(r) x' <= capacity(r)
//   for each coflow:       x' <= 1 / at_least
//   while a member computes: x' <= 1 / (slowdown x alone),  alone = max(at_least, max of bytes(r) /
//   capacity(r)), over the bytes of one group where the coflow stands for several that share resources.
//
// So a coflow with all its resources to itself takes latency + alone, and never less. Where the graph tells
// parts of it apart (the key "flows"), each part has an x of its own under the same rules, alone as above
// being that of the whole; all parts start together, and the coflow ends with its last part.
//
// Time. Events are whole picoseconds, the nearest to the exact end. All that ends at one instant ends, and
// all that can start starts, before anything is shared anew; then only what was touched is. Ends that cannot
// move any more (plain compute, latencies) and ends that can are in two queues; the second moves events
// instead of adding new ones.
#include <algorithm>

#include "sim/engine/actors.hpp"
#include "sim/engine/engine.hpp"
#include "sim/engine/event_ladder.hpp"
#include "sim/engine/sharing.hpp"

namespace moesim {

namespace {

constexpr std::uint32_t busy =
    nothing - 1;  // slot of a compute task at constant speed that slows communication

/// A task, or a part of one, whose speed can change.
struct Progress {
  TaskId task = nothing;
  std::uint32_t computing = 0;    // coflow: members that compute
  std::uint32_t parts_left = 0;   // coflow: parts that have not ended
  std::uint32_t whole = nothing;  // part: the slot of its coflow
  std::uint32_t part = nothing;   // coflow: the slot of its last part; part: of the one before
  Time since;                     // when the pace was set
  double done = 0;                // share of the task at that time
  double pace = -1;               // ps that the whole task takes at this speed; below 0: none yet
};

/// One run over one graph.
class Run {
 public:
  explicit Run(const TaskGraph& graph) : graph_(graph), actors_(graph), sharing_(graph) {
    timeline_.starts.reserve(graph.size());
    for (const std::uint32_t count : graph.predecessor_counts) timeline_.starts.push_back(waits_for(count));
    timeline_.ends.resize(graph.size());
  }

  Timeline timeline() {
    for (TaskId task = 0; task < graph_.size(); ++task) {
      if (graph_.predecessor_counts[task] > 0) continue;
      ready_.push_back(task);
      start_ready();
    }
    settle();
    while (!constant_.empty() || !moving_.empty()) advance();
    if (finished_ < graph_.size()) check_finished(graph_, finished_, still_waiting());
    return std::move(timeline_);
  }

 private:
  /// The start of a task that waits for so many others. Until a task starts, its start counts them: then both
  /// are in one place of the memory, which matters more than anything else in large graphs.
  static Time waits_for(std::uint32_t count) { return Time{-std::int64_t{count}}; }

  /// For each task, how many it waits for.
  std::vector<std::uint32_t> still_waiting() const {
    std::vector<std::uint32_t> waiting;
    for (const Time start : timeline_.starts) {
      waiting.push_back(start < Time{} ? static_cast<std::uint32_t>(-start.count) : 0);
    }
    return waiting;
  }

  /// Handles all events of the next instant.
  void advance() {
    const bool constant_first =
        moving_.empty() || (!constant_.empty() && constant_.top().time <= moving_.top().time);
    now_ = constant_first ? constant_.top().time : moving_.top().time;
    while (!constant_.empty() && constant_.top().time == now_) {
      end_constant(constant_.top());  // before pop(): its reads of memory hide behind the work on the heap
      constant_.pop();
      start_ready();
    }
    while (!moving_.empty() && moving_.top().time == now_) {
      end_moving(moving_.top());
      moving_.pop();
      start_ready();
    }
    settle();
  }

  void end_constant(const Event& event) {
    ++timeline_.events;
    if (event.slot == nothing) return finish(event.task);
    if (event.slot != busy) return begin_bytes(event.slot);
    actors_.end_compute(graph_.actors[event.task]);
    finish(event.task);
  }

  void end_moving(const Event& event) {
    ++timeline_.events;
    if (graph_.kinds[event.task] == TaskKind::coflow) return end_bytes(event.slot);
    const ActorId actor = graph_.actors[event.task];
    actors_.computes.leave(actor, event.slot);
    if (actors_.slows(actor)) actors_.end_compute(actor);
    free_.push_back(event.slot);
    finish(event.task);
  }

  void finish(TaskId task) {
    timeline_.ends[task] = now_;
    ++finished_;
    for (const TaskId next : graph_.successors_of(task)) {
      if (++timeline_.starts[next].count == 0) ready_.push_back(next);
    }
  }

  void start_ready() {
    while (!ready_.empty()) {
      const TaskId task = ready_.back();
      ready_.pop_back();
      timeline_.starts[task] = now_;
      switch (graph_.kinds[task]) {
        case TaskKind::compute:
          start_compute(task);
          break;
        case TaskKind::coflow:
          start_coflow(task);
          break;
        case TaskKind::barrier:
          finish(task);
          break;
      }
    }
  }

  void start_compute(TaskId task) {
    const Time duration = graph_.duration_from(task, now_);
    if (duration == Time{}) return finish(task);
    const ActorId actor = graph_.actors[task];
    const bool slows = actors_.slows(actor);
    if (slows) actors_.begin_compute(actor);
    if (actors_.may_be_held(actor) && graph_.slowdowns[task] > 1) {
      const std::uint32_t slot = take_slot(task);
      actors_.computes.enter(actor, slot);
      started_.push_back(slot);
    } else {
      constant_.push({after(now_, duration), task, slows ? busy : nothing});
    }
  }

  void start_coflow(TaskId task) {
    const Pattern& pattern = graph_.pattern_table[graph_.patterns[task]];
    if (pattern.holds_multiprocessors) {
      for (const ActorId actor : graph_.members_of(pattern)) actors_.hold(actor);
    }
    const std::uint32_t slot = take_slot(task);
    if (pattern.latency == Time{}) return begin_bytes(slot);
    constant_.push({after(now_, pattern.latency), task, slot});
  }

  /// The latency is over.
  void begin_bytes(std::uint32_t slot) {
    Progress& progress = slots_[slot];
    const PatternId id = graph_.patterns[progress.task];
    const Pattern& pattern = graph_.pattern_table[id];
    if (pattern.load_count == 0 && pattern.at_least == Time{}) return end_coflow(slot);
    if (pattern.slowdown > 1) {
      for (const ActorId actor : graph_.members_of(pattern)) {
        actors_.coflows.enter(actor, slot);
        progress.computing += actors_.is_busy(actor) ? 1 : 0;
      }
    }
    if (pattern.part_count > 0) return begin_parts(slot, pattern);
    sharing_.join(slot, id, progress.computing > 0);
  }

  void begin_parts(std::uint32_t whole, const Pattern& pattern) {
    slots_[whole].parts_left = pattern.part_count;
    for (PatternId id = pattern.first_part; id < pattern.first_part + pattern.part_count; ++id) {
      const std::uint32_t slot = take_slot(slots_[whole].task);
      slots_[slot].whole = whole;
      slots_[slot].part = slots_[whole].part;
      slots_[whole].part = slot;
      sharing_.join(slot, id, slots_[whole].computing > 0);
    }
  }

  /// The bytes in a slot have arrived: those of a coflow, or of a part of one.
  void end_bytes(std::uint32_t slot) {
    sharing_.leave(slot);
    if (slots_[slot].whole != nothing) {
      slot = slots_[slot].whole;
      if (--slots_[slot].parts_left > 0) return;
      for (std::uint32_t part = slots_[slot].part; part != nothing; part = slots_[part].part) {
        free_.push_back(part);
      }
    }
    const Pattern& pattern = graph_.pattern_table[graph_.patterns[slots_[slot].task]];
    if (pattern.slowdown > 1) {
      for (const ActorId actor : graph_.members_of(pattern)) actors_.coflows.leave(actor, slot);
    }
    end_coflow(slot);
  }

  void end_coflow(std::uint32_t slot) {
    const TaskId task = slots_[slot].task;
    const Pattern& pattern = graph_.pattern_table[graph_.patterns[task]];
    if (pattern.holds_multiprocessors) {
      for (const ActorId actor : graph_.members_of(pattern)) actors_.release(actor);
    }
    free_.push_back(slot);
    finish(task);
  }

  /// Brings the speeds of all tasks in line with what has changed in this instant.
  void settle() {
    actors_.settle(
        [this](ActorId actor) {
          for (const std::uint32_t slot : actors_.computes.of(actor)) set_compute_pace(slot, actor);
        },
        [this](ActorId actor) {
          for (const std::uint32_t slot : actors_.coflows.of(actor)) count_computing(slot, actor);
        });
    for (const std::uint32_t slot : started_) set_compute_pace(slot, graph_.actors[slots_[slot].task]);
    started_.clear();
    for (const std::uint32_t slot : sharing_.settle()) set_pace(slot, sharing_.pace(slot).count);
  }

  void count_computing(std::uint32_t slot, ActorId actor) {
    Progress& progress = slots_[slot];
    const bool was_slowed = progress.computing > 0;
    if (actors_.is_busy(actor)) {
      ++progress.computing;
    } else {
      --progress.computing;
    }
    if (was_slowed == (progress.computing > 0)) return;
    if (progress.part == nothing) sharing_.set_slowed(slot, !was_slowed);
    for (std::uint32_t part = progress.part; part != nothing; part = slots_[part].part) {
      sharing_.set_slowed(part, !was_slowed);
    }
  }

  void set_compute_pace(std::uint32_t slot, ActorId actor) {
    const TaskId task = slots_[slot].task;
    const double alone = static_cast<double>(graph_.duration_from(task, timeline_.starts[task]).count);
    set_pace(slot, actors_.is_held(actor) ? alone * static_cast<double>(graph_.slowdowns[task]) : alone);
  }

  void set_pace(std::uint32_t slot, double pace) {
    Progress& progress = slots_[slot];
    if (progress.pace == pace) return;
    if (progress.pace >= 0)
      progress.done += static_cast<double>((now_ - progress.since).count) / progress.pace;
    progress.since = now_;
    progress.pace = pace;
    moving_.set({after(now_, rounded(RealTime{(1 - progress.done) * pace})), progress.task, slot});
  }

  std::uint32_t take_slot(TaskId task) {
    if (free_.empty()) {
      free_.push_back(static_cast<std::uint32_t>(slots_.size()));
      slots_.emplace_back();
    }
    const std::uint32_t slot = free_.back();
    free_.pop_back();
    slots_[slot] = {};
    slots_[slot].task = task;
    return slot;
  }

  const TaskGraph& graph_;
  Timeline timeline_;
  Time now_;
  std::vector<TaskId> ready_;
  std::size_t finished_ = 0;
  EventLadder constant_;     // ends of compute at constant speed and of latencies
  EventQueue<true> moving_;  // ends of what can change its speed
  std::vector<Progress> slots_;
  std::vector<std::uint32_t> free_;     // slots
  std::vector<std::uint32_t> started_;  // slots of compute tasks that have no pace yet
  Actors actors_;
  Sharing sharing_;
};

class Fluid final : public Engine {
 public:
  explicit Fluid(FlowGrain flows) : flows_(flows) {}
  Timeline run(const TaskGraph& graph) const override { return Run(graph).timeline(); }
  FlowGrain flows() const override { return flows_; }

 private:
  FlowGrain flows_;
};

}  // namespace

extern constexpr Entry<Engine> fluid_engine{
    "fluid", "streams in order, links shared max-min fair among whole collectives",
    [](Reader& reader) -> std::unique_ptr<const Engine> {
      return std::make_unique<Fluid>(read_flow_grain(reader));
    }};

}  // namespace moesim
