#include "sim/report/occupancy.hpp"

#include <algorithm>
#include <cstdint>

#include "models/base/at.hpp"

namespace moesim {
namespace {

/// A task that begins or ends on an actor.
struct Change {
  Time at;
  std::int32_t delta;
  Activity activity;
  std::uint8_t phase;  // phase_count: none
};

/// How many tasks of each kind run.
struct Running {
  std::array<std::int32_t, activity_count> activities{};
  // By phase, compute before communication: what computes decides.
  std::array<std::array<std::int32_t, phase_count + 1>, 2> phases{};
};

/// What goes on whatever its pass does: sends, and copies to the host's memory and back.
bool is_beside_passes(Activity activity) {
  return activity == Activity::pipeline || stream_of(activity) == Stream::copies;
}

/// The phase of a task: a backward whose weight gradient is held back counts its input gradient as backward.
std::uint8_t phase_of(const Tag& tag) {
  if (tag.microbatch < 0 || is_beside_passes(tag.activity)) return phase_count;
  if (tag.overlapped) return static_cast<std::uint8_t>(Phase::overlapped);
  switch (tag.pass) {
    case PassKind::none:
      return phase_count;
    case PassKind::forward:
      return static_cast<std::uint8_t>(Phase::forward);
    case PassKind::backward_weight:
      return static_cast<std::uint8_t>(Phase::backward_weight);
    case PassKind::backward_input:
    case PassKind::backward:
      return static_cast<std::uint8_t>(Phase::backward);
  }
  return phase_count;
}

void count_phase(const Running& running, Time length, Occupancy& occupancy) {
  for (const auto& phases : running.phases) {
    for (std::size_t phase = 0; phase < phase_count; ++phase) {
      if (phases[phase] == 0) continue;
      occupancy.phases[phase] += length;
      return;
    }
  }
}

/// The tasks of each actor: its compute, and the communication it takes part in. Compressed rows.
struct TasksOfActors {
  std::vector<std::uint64_t> first;
  std::vector<TaskId> tasks;
};

void for_each_actor(const TaskGraph& graph, TaskId task, auto visit) {
  if (graph.kinds[task] == TaskKind::compute) visit(graph.actors[task]);
  if (is_stall(graph, task)) visit(graph.actors[held_up_by(graph, task)]);
  if (graph.kinds[task] != TaskKind::coflow || graph.tags[task].activity == Activity::host) return;
  for (const ActorId actor : graph.members_of(graph.pattern_table[graph.patterns[task]])) visit(actor);
}

TasksOfActors group_tasks(const TaskGraph& graph) {
  TasksOfActors groups;
  groups.first.assign(graph.actor_count + 1, 0);
  const auto count = static_cast<TaskId>(graph.size());
  for (TaskId task = 0; task < count; ++task) {
    for_each_actor(graph, task, [&](ActorId actor) { ++groups.first[actor + 1]; });
  }
  for (std::uint32_t actor = 0; actor < graph.actor_count; ++actor)
    groups.first[actor + 1] += groups.first[actor];
  groups.tasks.resize(groups.first.back());
  std::vector<std::uint64_t> next(groups.first.begin(), groups.first.end() - 1);
  for (TaskId task = 0; task < count; ++task) {
    for_each_actor(graph, task, [&](ActorId actor) { groups.tasks[next[actor]++] = task; });
  }
  return groups;
}

constexpr bool is_compute_of_pass(Activity activity) {
  return stream_of(activity) == Stream::compute && activity != Activity::optimizer;
}
constexpr auto compute_of_passes = activities_that<is_compute_of_pass>();

enum class Moment : std::uint8_t { busy, idle };

/// Where a moment counts to, given how many tasks of each kind of work run.
Moment count_moment(const Running& now, Time length, Occupancy& occupancy) {
  const std::array<std::int32_t, activity_count>& running = now.activities;
  count_phase(now, length, occupancy);
  bool computes = false;
  for (const Activity activity : compute_of_passes) computes |= at(running, activity) > 0;
  Activity exposed = Activity::none;
  for (const Activity activity : communications) {
    if (at(running, activity) == 0) continue;
    at(occupancy.busy, activity) += length;
    if (exposed == Activity::none) exposed = activity;
  }
  if (computes) {
    occupancy.compute += length;
  } else if (at(running, Activity::optimizer) > 0) {
    occupancy.optimizer += length;
  } else if (at(running, Activity::host) > 0) {
    occupancy.held_up += length;
  } else if (exposed != Activity::none) {
    at(occupancy.exposed, exposed) += length;
  } else {
    occupancy.idle += length;
    return Moment::idle;
  }
  return Moment::busy;
}

bool is_earlier(const Change& a, const Change& b) { return a.at < b.at; }

/// The begins and ends of an actor's tasks. Those of one stream mostly come in the order of time, so there is
/// more to merge than to sort.
class Changes {
 public:
  void clear() {
    for (std::vector<Change>& stream : streams_) stream.clear();
  }

  void add(Time start, Time end, const Tag& tag) {
    const std::size_t stream = is_communication(tag.activity) ? 2 : 0;
    streams_[stream].push_back({start, 1, tag.activity, phase_of(tag)});
    streams_[stream + 1].push_back({end, -1, tag.activity, phase_of(tag)});
  }

  /// All of them, by time.
  const std::vector<Change>& ordered() {
    for (std::vector<Change>& stream : streams_) {
      if (!std::is_sorted(stream.begin(), stream.end(), is_earlier))
        std::sort(stream.begin(), stream.end(), is_earlier);
    }
    merge(streams_[0], streams_[1], compute_);
    merge(streams_[2], streams_[3], communication_);
    merge(compute_, communication_, all_);
    return all_;
  }

 private:
  static void merge(const std::vector<Change>& a, const std::vector<Change>& b, std::vector<Change>& merged) {
    merged.resize(a.size() + b.size());
    std::merge(a.begin(), a.end(), b.begin(), b.end(), merged.begin(), is_earlier);
  }

  std::array<std::vector<Change>, 4> streams_;  // begins and ends of compute, and of communication
  std::vector<Change> compute_, communication_, all_;
};

Occupancy sweep(const std::vector<Change>& changes, Time makespan) {
  Occupancy occupancy;
  Running running;
  Time now;
  Moment before = Moment::busy;
  for (const Change& change : changes) {
    if (change.at > now) {
      const Moment moment = count_moment(running, change.at - now, occupancy);
      if (moment == Moment::idle && before == Moment::busy) ++occupancy.pauses;
      before = moment;
      now = change.at;
    }
    at(running.activities, change.activity) += change.delta;
    running.phases[is_communication(change.activity) ? 1 : 0][change.phase] += change.delta;
  }
  occupancy.idle += makespan - now;
  if (makespan > now && before == Moment::busy) ++occupancy.pauses;
  return occupancy;
}

}  // namespace

std::vector<Occupancy> occupancy(const TaskGraph& graph, const Timeline& timeline) {
  const TasksOfActors groups = group_tasks(graph);
  const Time makespan = timeline.makespan();
  std::vector<Occupancy> actors;
  Changes changes;
  for (ActorId actor = 0; actor < graph.actor_count; ++actor) {
    changes.clear();
    Time first = makespan;
    Time last;
    for (std::uint64_t i = groups.first[actor]; i < groups.first[actor + 1]; ++i) {
      const TaskId task = groups.tasks[i];
      const Tag& tag = graph.tags[task];
      const Time start =
          is_stall(graph, task) ? timeline.ends[held_up_by(graph, task)] : timeline.starts[task];
      changes.add(start, timeline.ends[task], tag);
      if (tag.microbatch < 0 || is_beside_passes(tag.activity)) continue;
      first = std::min(first, timeline.starts[task]);
      last = std::max(last, timeline.ends[task]);
    }
    actors.push_back(sweep(changes.ordered(), makespan));
    actors.back().devices = graph.devices_of(static_cast<ActorId>(actors.size() - 1));
    actors.back().first_pass = std::min(first, last);
    actors.back().last_pass = last;
  }
  return actors;
}

}  // namespace moesim
