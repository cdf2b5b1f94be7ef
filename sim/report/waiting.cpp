#include "sim/report/waiting.hpp"

#include <algorithm>
#include <numeric>
#include <vector>

#include "models/base/at.hpp"
#include "models/base/whole.hpp"

namespace moesim {
namespace {

/// An exchange that several actors take part in.
bool is_met(const TaskGraph& graph, TaskId task) {
  return graph.kinds[task] == TaskKind::coflow && is_exchange(graph.tags[task].activity) &&
         graph.pattern_table[graph.patterns[task]].member_count > 1;
}

/// The exchanges that are met, and when each member of each has come to it.
struct Arrivals {
  std::vector<std::uint64_t> first;  // by task
  std::vector<Time> at;
};

Arrivals arrivals_of(const TaskGraph& graph) {
  Arrivals arrivals;
  arrivals.first.assign(graph.size() + 1, 0);
  for (TaskId task = 0; task < graph.size(); ++task) {
    const std::uint64_t members =
        is_met(graph, task) ? graph.pattern_table[graph.patterns[task]].member_count : 0;
    arrivals.first[task + 1] = arrivals.first[task] + members;
  }
  arrivals.at.assign(arrivals.first.back(), Time{});
  return arrivals;
}

/// Whose a task is: where it runs, or of a barrier those before it; nothing for what several share.
std::vector<ActorId> owners_of(const TaskGraph& graph) {
  std::vector<ActorId> owners = graph.actors;
  for (TaskId task = 0; task < graph.size(); ++task) {
    if (graph.kinds[task] == TaskKind::coflow) {
      const auto members = graph.members_of(graph.pattern_table[graph.patterns[task]]);
      if (members.size() == 1) owners[task] = members.front();
    }
    for (const TaskId next : graph.successors_of(task)) {
      if (graph.kinds[next] == TaskKind::barrier && owners[task] != nothing) owners[next] = owners[task];
    }
  }
  return owners;
}

/// A task that ended before an exchange began holds up its owner there, or all that it has in common with it.
void come(const TaskGraph& graph, TaskId before, ActorId owner, TaskId exchange, Time end,
          Arrivals& arrivals) {
  const auto members = graph.members_of(graph.pattern_table[graph.patterns[exchange]]);
  const bool is_shared = owner == nothing && graph.kinds[before] == TaskKind::coflow;
  const std::span<const ActorId> shared =
      is_shared ? graph.members_of(graph.pattern_table[graph.patterns[before]]) : std::span<const ActorId>{};
  for (std::size_t i = 0; i < members.size(); ++i) {
    const bool concerns =
        owner == nothing ? !is_shared || std::find(shared.begin(), shared.end(), members[i]) != shared.end()
                         : members[i] == owner;
    Time& at = arrivals.at[arrivals.first[exchange] + i];
    if (concerns) at = std::max(at, end);
  }
}

}  // namespace

std::array<Time, activity_count> waiting_for_peers(const TaskGraph& graph, const Timeline& timeline) {
  std::array<Time, activity_count> waiting{};
  Arrivals arrivals = arrivals_of(graph);
  if (arrivals.at.empty()) return waiting;
  const std::vector<ActorId> owners = owners_of(graph);
  for (TaskId task = 0; task < graph.size(); ++task) {
    for (const TaskId next : graph.successors_of(task)) {
      if (arrivals.first[next + 1] > arrivals.first[next])
        come(graph, task, owners[task], next, timeline.ends[task], arrivals);
    }
  }
  std::array<std::vector<Time>, activity_count> of_actor;
  for (TaskId task = 0; task < graph.size(); ++task) {
    if (!is_met(graph, task)) continue;
    std::vector<Time>& sums = at(of_actor, graph.tags[task].activity);
    sums.resize(graph.actor_count);
    const auto members = graph.members_of(graph.pattern_table[graph.patterns[task]]);
    for (std::size_t i = 0; i < members.size(); ++i)
      sums[members[i]] += timeline.starts[task] - arrivals.at[arrivals.first[task] + i];
  }
  for (std::size_t activity = 0; activity < activity_count; ++activity) {
    if (of_actor[activity].empty()) continue;
    MeanTime devices;
    for (ActorId actor = 0; actor < graph.actor_count; ++actor)
      devices.add(of_actor[activity][actor], graph.devices_of(actor));
    waiting[activity] = devices.mean();
  }
  return waiting;
}

}  // namespace moesim
