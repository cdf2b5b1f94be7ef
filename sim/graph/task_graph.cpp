// Builds the graph: edges into compressed rows, a proof that no tasks wait for each other, patterns stored
// once.
#include "sim/graph/task_graph.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <stdexcept>

#include "models/base/error.hpp"
#include "models/base/hash.hpp"
#include "sim/graph/resources.hpp"

namespace moesim {
namespace {

constexpr std::size_t named_tasks = 12;  // of a cycle, in an error

std::uint64_t hash_of(std::span<const LinkLoad> loads) {
  std::uint64_t hash = hash_of_nothing;
  for (const LinkLoad& load : loads) {
    hash = hash_with(hash_with(hash, load.link), std::bit_cast<std::uint64_t>(load.bytes));
    hash = hash_with(hash, std::bit_cast<std::uint64_t>(load.carried));
  }
  return hash;
}

std::uint64_t hash_of(std::span<const ActorId> members) {
  std::uint64_t hash = hash_of_nothing;
  for (const ActorId member : members) hash = hash_with(hash, member);
  return hash;
}

/// `loads` in the order of links, each link once, without empty loads.
void sort_traffic(std::span<const LinkLoad> loads, std::vector<LinkLoad>& sorted) {
  sorted.assign(loads.begin(), loads.end());
  std::erase_if(sorted, [](const LinkLoad& load) { return load.bytes == 0; });
  const auto by_link = [](const LinkLoad& a, const LinkLoad& b) { return a.link < b.link; };
  if (!std::is_sorted(sorted.begin(), sorted.end(), by_link)) {
    std::stable_sort(sorted.begin(), sorted.end(), by_link);
  }
  std::size_t kept = 0;
  for (const LinkLoad& load : sorted) {
    if (kept > 0 && sorted[kept - 1].link == load.link) {
      sorted[kept - 1].bytes += load.bytes;
      sorted[kept - 1].carried += load.carried;
    } else {
      sorted[kept++] = load;
    }
  }
  sorted.resize(kept);
}

/// How many predecessors each task still waits for after all that can run have run, and how many have run.
struct Elimination {
  std::vector<std::uint32_t> waiting;
  std::size_t done = 0;
};

/// Kahn's algorithm (Topological sorting of large networks, CACM 5(11), 1962).
Elimination eliminate(const TaskGraph& graph) {
  Elimination result{graph.predecessor_counts, 0};
  std::vector<TaskId> ready;
  for (TaskId task = 0; task < graph.size(); ++task) {
    if (result.waiting[task] == 0) ready.push_back(task);
  }
  while (!ready.empty()) {
    const TaskId task = ready.back();
    ready.pop_back();
    ++result.done;
    for (const TaskId next : graph.successors_of(task)) {
      if (--result.waiting[next] == 0) ready.push_back(next);
    }
  }
  return result;
}

/// The tasks of one cycle, in order, among those that still wait. Each of them has a predecessor that waits,
/// too, so walking backwards must come around.
std::vector<TaskId> find_cycle(const TaskGraph& graph, const std::vector<std::uint32_t>& waiting) {
  std::vector<TaskId> waits_for(graph.size(), nothing);
  TaskId task = nothing;
  for (TaskId before = 0; before < graph.size(); ++before) {
    if (waiting[before] == 0) continue;
    if (task == nothing) task = before;
    for (const TaskId after : graph.successors_of(before)) {
      if (waits_for[after] == nothing) waits_for[after] = before;
    }
  }
  std::vector<bool> seen(graph.size(), false);
  for (; !seen[task]; task = waits_for[task]) seen[task] = true;
  std::vector<TaskId> cycle{task};
  for (TaskId other = waits_for[task]; other != task; other = waits_for[other]) cycle.push_back(other);
  std::reverse(cycle.begin() + 1, cycle.end());
  return cycle;
}

void check_acyclic(const TaskGraph& graph) {
  const Elimination result = eliminate(graph);
  if (result.done == graph.size()) return;
  const std::vector<TaskId> cycle = find_cycle(graph, result.waiting);
  std::string words;
  for (std::size_t i = 0; i < std::min(cycle.size(), named_tasks); ++i) {
    words += fmt::format("({}) -> ", describe(graph, cycle[i]));
  }
  if (cycle.size() > named_tasks) words += fmt::format("{} more -> ", cycle.size() - named_tasks);
  throw RunError(fmt::format("{} tasks wait for each other: {}task {}", cycle.size(), words, cycle[0]));
}

void check_bytes(const TaskGraph& graph) {
  for (std::size_t i = 0; i < graph.pattern_table.size(); ++i) {
    const Pattern& pattern = graph.pattern_table[i];
    if (pattern.bytes_sent == pattern.bytes_received) continue;
    throw std::logic_error(fmt::format("traffic pattern {}: {} bytes sent, but {} received", i,
                                       pattern.bytes_sent, pattern.bytes_received));
  }
}

}  // namespace

Time TaskGraph::slowed_duration(TaskId task, Time start) const {
  const Time duration = durations[task];
  if (duration == Time{}) return duration;
  const Slowness& slowness = slownesses[actors[task]];
  return start < slowness.from ? duration : scaled(duration, slowness.factor);
}

std::vector<RealTime> alone_times(const TaskGraph& graph) {
  std::vector<RealTime> times;
  times.reserve(graph.pattern_table.size());
  for (const Pattern& pattern : graph.pattern_table) {
    double longest = static_cast<double>(pattern.at_least.count);
    for (const Load& load : graph.loads_of(pattern)) {
      longest = std::max(longest, load.bytes * 1e12 / graph.capacities[load.resource].count);
    }
    times.push_back({longest});
  }
  return times;
}

std::vector<RealTime> group_times(const TaskGraph& graph) {
  std::vector<RealTime> times = alone_times(graph);
  for (std::size_t i = 0; i < times.size(); ++i) {
    const Pattern& pattern = graph.pattern_table[i];
    if (pattern.group_alone > 0)
      times[i].count = std::max(static_cast<double>(pattern.at_least.count), pattern.group_alone);
  }
  return times;
}

std::vector<RealTime> slowed_times(const TaskGraph& graph) {
  std::vector<RealTime> times = alone_times(graph);
  const std::vector<RealTime> groups = group_times(graph);
  for (std::size_t i = 0; i < times.size(); ++i)
    times[i].count = std::max(times[i].count, groups[i].count * graph.pattern_table[i].slowdown);
  for (std::size_t i = 0; i < times.size(); ++i) {
    const Pattern& whole = graph.pattern_table[i];
    for (std::uint32_t part = 0; part < whole.part_count; ++part) times[whole.first_part + part] = times[i];
  }
  return times;
}

void GraphBuilder::reserve(std::size_t tasks, std::size_t edges) {
  graph_.kinds.reserve(tasks);
  graph_.actors.reserve(tasks);
  graph_.durations.reserve(tasks);
  graph_.slowdowns.reserve(tasks);
  graph_.patterns.reserve(tasks);
  graph_.tags.reserve(tasks);
  graph_.predecessor_counts.reserve(tasks);
  edges_.reserve(edges);
}

TaskId GraphBuilder::add_task(TaskKind kind, ActorId actor, Time duration, double slowdown, PatternId pattern,
                              const Tag& tag) {
  ensure(size() < nothing, "a graph has fewer than 2^32 - 1 tasks");
  const TaskId task = static_cast<TaskId>(size());
  graph_.kinds.push_back(kind);
  graph_.actors.push_back(actor);
  graph_.durations.push_back(duration);
  graph_.slowdowns.push_back(static_cast<float>(slowdown));
  graph_.patterns.push_back(pattern);
  graph_.tags.push_back(tag);
  graph_.predecessor_counts.push_back(0);
  return task;
}

TaskId GraphBuilder::add_compute(ActorId actor, Time duration, double slowdown, const Tag& tag) {
  ensure(actor < graph_.actor_count, "a compute task runs on one of the graph's actors");
  ensure(duration >= Time{}, "a duration is never negative");
  ensure(slowdown >= 1, "communication never speeds compute up");
  return add_task(TaskKind::compute, actor, duration, slowdown, nothing, tag);
}

TaskId GraphBuilder::add_coflow(PatternId pattern, const Tag& tag) {
  ensure(pattern < graph_.pattern_table.size(), "a coflow has a pattern of the graph");
  return add_task(TaskKind::coflow, nothing, {}, 1, pattern, tag);
}

TaskId GraphBuilder::add_barrier(const Tag& tag) {
  return add_task(TaskKind::barrier, nothing, {}, 1, nothing, tag);
}

void GraphBuilder::add_edge(TaskId before, TaskId after) {
  if (before == nothing) return;
  ensure(before < size() && after < size(), "an edge joins tasks of the graph");
  edges_.emplace_back(before, after);
  ++graph_.predecessor_counts[after];
  edges_rise_ = edges_rise_ && before < after;
}

PatternId GraphBuilder::add_pattern(Pattern pattern, std::span<const LinkLoad> link_loads,
                                    std::span<const ActorId> members) {
  sort_traffic(link_loads, sorted_);
  for (const LinkLoad& load : sorted_) ensure(load.bytes > 0, "a load in bytes is never negative");
  ensure(sorted_.empty() || pattern.flow_bytes > 0, "a pattern with loads says how many bytes a flow has");
  ensure(pattern.latency >= Time{} && pattern.at_least >= Time{}, "a pattern's times are never negative");
  ensure(pattern.slowdown >= 1, "compute never speeds communication up");
  for (const ActorId member : members) ensure(member < graph_.actor_count, "a pattern's members are actors");

  const PatternId id = static_cast<PatternId>(graph_.pattern_table.size());
  const Pattern* like = &pattern;
  const auto [traffic, new_traffic] =
      known_traffic_.try_emplace(hash_of(std::span<const LinkLoad>(sorted_)), id);
  if (!new_traffic) like = &graph_.pattern_table[traffic->second];
  const auto same_load = [](const LinkLoad& a, const LinkLoad& b) {
    return a.link == b.link && a.bytes == b.bytes && a.carried == b.carried;
  };
  if (!new_traffic && std::ranges::equal(graph_.link_loads_of(*like), sorted_, same_load)) {
    pattern.first_link_load = like->first_link_load;
  } else {
    pattern.first_link_load = static_cast<std::uint32_t>(graph_.link_loads.size());
    graph_.link_loads.insert(graph_.link_loads.end(), sorted_.begin(), sorted_.end());
  }
  pattern.link_load_count = static_cast<std::uint32_t>(sorted_.size());

  const auto [crowd, new_crowd] = known_members_.try_emplace(hash_of(members), id);
  if (!new_crowd) like = &graph_.pattern_table[crowd->second];
  if (!new_crowd && std::ranges::equal(graph_.members_of(*like), members)) {
    pattern.first_member = like->first_member;
  } else {
    pattern.first_member = static_cast<std::uint32_t>(graph_.members.size());
    graph_.members.insert(graph_.members.end(), members.begin(), members.end());
  }
  pattern.member_count = static_cast<std::uint32_t>(members.size());
  ensure(graph_.link_loads.size() < nothing, "a graph has fewer than 2^32 - 1 link loads");
  graph_.pattern_table.push_back(pattern);
  return id;
}

void GraphBuilder::add_part(PatternId whole, double flow_bytes, std::span<const LinkLoad> link_loads) {
  ensure(whole < graph_.pattern_table.size(), "a part belongs to a pattern of the graph");
  Pattern part;
  part.flow_bytes = flow_bytes;
  part.at_least = graph_.pattern_table[whole].at_least;
  part.slowdown = graph_.pattern_table[whole].slowdown;
  const PatternId id = add_pattern(part, link_loads, {});
  Pattern& owner = graph_.pattern_table[whole];
  if (owner.part_count == 0) owner.first_part = id;
  ensure(whole + owner.part_count + 1 == id, "parts follow their pattern");
  ++owner.part_count;
}

/// Counting sort by the first task, stable, so that successors keep the order in which edges were added.
void GraphBuilder::sort_edges() {
  ensure(edges_.size() < nothing, "a graph has fewer than 2^32 - 1 edges");
  std::vector<std::uint32_t>& first = graph_.first_successor;
  first.assign(size() + 1, 0);
  for (const auto& [before, after] : edges_) ++first[before];
  std::uint32_t sum = 0;
  for (std::uint32_t& entry : first) entry = sum += entry;  // one past the end of each row
  graph_.successors.resize(edges_.size());
  for (auto edge = edges_.rbegin(); edge != edges_.rend(); ++edge) {
    graph_.successors[--first[edge->first]] = edge->second;
  }
  std::vector<std::pair<TaskId, TaskId>>().swap(edges_);
}

TaskGraph GraphBuilder::finish(std::span<const Rate> link_rates) && {
  sort_edges();
  if (!edges_rise_) check_acyclic(graph_);
  check_bytes(graph_);
  add_resources(graph_, link_rates);
  return std::move(graph_);
}

}  // namespace moesim
