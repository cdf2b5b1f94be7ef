// What there is to do: tasks, edges, and the traffic of each communication. Compact arrays; no choice left to
// make.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "models/base/units.hpp"
#include "sim/graph/activity.hpp"

namespace moesim {

using TaskId = std::uint32_t;
using ActorId = std::uint32_t;
using PatternId = std::uint32_t;
inline constexpr std::uint32_t nothing = 0xffffffff;  ///< no task, actor or pattern

enum class TaskKind : std::uint8_t {
  compute,  ///< occupies its actor for a time
  coflow,   ///< a communication: its bytes advance at one rate, or part by part
  barrier,  ///< takes no time, joins what is before it
};

/// The pass that a task belongs to. BW is a backward whose input and weight gradients are one pass.
enum class PassKind : std::uint8_t { none, forward, backward_input, backward_weight, backward };
inline constexpr std::array<std::string_view, 5> pass_names{"none", "forward", "backward_input",
                                                            "backward_weight", "backward"};

/// Where a task belongs in the model and the schedule; -1 where it belongs to none.
struct Tag {
  std::int32_t microbatch = -1;
  std::int16_t layer = -1;
  std::int16_t pipeline_rank = -1;
  std::int8_t chunk = -1;
  Activity activity = Activity::none;
  PassKind pass = PassKind::none;
  bool overlapped : 1 = false;  ///< inside a block where a forward and a backward share the device
  bool experts : 1 = false;     ///< gradients and parameters: those of experts
};

/// Load of a coflow on one resource.
struct Load {
  std::uint32_t resource = 0;  ///< index into TaskGraph::capacities
  double bytes = 0;            ///< over the whole task
};

/// Load of a coflow on one link of the fabric.
struct LinkLoad {
  std::uint32_t link = 0;
  double bytes = 0;    ///< that take as long at the link's full rate: what engines share
  double carried = 0;  ///< bytes that go over it, for the report
};

/// The traffic that coflows of one shape have in common.
struct Pattern {
  Time latency{};         ///< before the first byte arrives everywhere; nothing is loaded meanwhile
  double flow_bytes = 0;  ///< bytes of one of its flows: sharing is fair between flows, not between coflows
  Time at_least{};        ///< its bytes never take less than this, however free the links are
  std::uint32_t first_load = 0, load_count = 0;            ///< into TaskGraph::loads
  std::uint32_t first_link_load = 0, link_load_count = 0;  ///< into TaskGraph::link_loads
  std::uint32_t first_member = 0, member_count = 0;        ///< into TaskGraph::members: the actors it runs on
  std::uint32_t first_part = 0,
                part_count = 0;        ///< into TaskGraph::pattern_table; none: bytes go at one rate
  bool holds_multiprocessors = false;  ///< its kernels take part of the device while they run
  double slowdown = 1;                 ///< its bytes take this much longer while a member computes
  /// Picoseconds that the bytes of one of the groups that it stands for take alone, where groups share links
  /// and an engine needs to know: that is what gets longer while a member computes, and all that there is
  /// without contention, not what they take together. 0: no group meets another.
  double group_alone = 0;
  std::int64_t messages = 0;
  std::int64_t bytes_sent = 0, bytes_received = 0;  ///< summed over ranks; equal, or the graph is wrong
};

/// What slows an actor down: compute that starts there at `from` or later takes `factor` times as long.
struct Slowness {
  Time from{};
  double factor = 1;
};

/// The graph. Arrays with one entry a task have the same length; edges are successors in compressed rows.
struct TaskGraph {
  std::uint32_t actor_count = 0;
  std::vector<std::uint32_t> devices;          ///< that each actor stands for; empty: as many each
  std::vector<std::uint32_t> representatives;  ///< by position of a pipeline rank: which of its actors stands
                                               ///< for it; empty where actors are no positions
  std::vector<Slowness> slownesses;            ///< of actors; empty: none
  std::vector<TaskKind> kinds;
  std::vector<ActorId> actors;      ///< compute: where it runs; else nothing
  std::vector<Time> durations;      ///< compute: time alone on a device that nothing slows; else zero
  std::vector<float> slowdowns;     ///< compute: how much longer while communication holds multiprocessors
  std::vector<PatternId> patterns;  ///< coflow; else nothing
  std::vector<Tag> tags;
  std::vector<std::uint32_t> first_successor;  ///< size + 1 entries
  std::vector<TaskId> successors;
  std::vector<std::uint32_t> predecessor_counts;

  std::vector<Pattern> pattern_table;  ///< of coflows; behind each that goes part by part its parts
  std::vector<Load> loads;
  std::vector<LinkLoad> link_loads;
  std::vector<ActorId> members;
  std::vector<Rate> capacities;  ///< of the resources: links, merged where no traffic tells them apart
  std::vector<std::uint32_t> resource_of_link;  ///< nothing where no traffic goes, or where it never binds

  std::size_t size() const { return kinds.size(); }
  /// Of a compute task that starts at that time, alone on its device.
  Time duration_from(TaskId task, Time start) const {
    return slownesses.empty() ? durations[task] : slowed_duration(task, start);
  }
  Time slowed_duration(TaskId task, Time start) const;
  /// Devices that the actor stands for, or 1 where all stand for as many.
  std::uint32_t devices_of(ActorId actor) const { return devices.empty() ? 1 : devices[actor]; }
  std::span<const TaskId> successors_of(TaskId task) const {
    return {successors.data() + first_successor[task], first_successor[task + 1] - first_successor[task]};
  }
  std::span<const Load> loads_of(const Pattern& pattern) const {
    return {loads.data() + pattern.first_load, pattern.load_count};
  }
  std::span<const LinkLoad> link_loads_of(const Pattern& pattern) const {
    return {link_loads.data() + pattern.first_link_load, pattern.link_load_count};
  }
  std::span<const ActorId> members_of(const Pattern& pattern) const {
    return {members.data() + pattern.first_member, pattern.member_count};
  }
  std::span<const Pattern> parts_of(const Pattern& pattern) const {
    return {pattern_table.data() + pattern.first_part, pattern.part_count};
  }
};

/// Whether a task is the end of a compute task and of what held its kernels up on the host: a barrier behind
/// both, added after them.
inline bool is_stall(const TaskGraph& graph, TaskId task) {
  return graph.kinds[task] == TaskKind::barrier && graph.tags[task].activity == Activity::host;
}
/// The compute task whose kernels a stall held up: the last one added before it.
inline TaskId held_up_by(const TaskGraph& graph, TaskId stall) {
  TaskId task = stall;
  while (graph.kinds[task] != TaskKind::compute) --task;
  return task;
}

/// A span of time inside an engine's arithmetic: picoseconds, not yet whole.
using RealTime = Quantity<struct RealPicosecond, double>;

/// The nearest whole picosecond. Throws RunError beyond the longest time or for what is not a number; never
/// negative.
inline Time rounded(RealTime time) {
  if (!(time.count <= static_cast<double>(longest_time.count))) fail_too_long(time.count * 1e-12);
  return {time.count > 0 ? static_cast<std::int64_t>(time.count + 0.5) : 0};
}

/// For each pattern, how long its bytes take with all its resources to itself: the longest of `at_least` and
/// bytes / capacity over its loads; latency not included.
std::vector<RealTime> alone_times(const TaskGraph& graph);

/// The same for one of the groups that a pattern stands for.
std::vector<RealTime> group_times(const TaskGraph& graph);

/// For each pattern, the least that its bytes take while a member computes: slowdown x what a group takes
/// alone, and never less than all take together; for a part that of the whole it belongs to.
std::vector<RealTime> slowed_times(const TaskGraph& graph);

/// Builds a graph. Tasks get their number in the order in which they are added.
class GraphBuilder {
 public:
  explicit GraphBuilder(std::uint32_t actor_count) { graph_.actor_count = actor_count; }
  /// Room for that many tasks and edges, to save growing.
  void reserve(std::size_t tasks, std::size_t edges);
  TaskId add_compute(ActorId actor, Time duration, double slowdown, const Tag& tag);
  TaskId add_coflow(PatternId pattern, const Tag& tag);
  TaskId add_barrier(const Tag& tag = {});
  /// `after` starts once `before` has ended. `before` may be `nothing`: no edge.
  void add_edge(TaskId before, TaskId after);
  /// The parts of a pattern; its ranges in the graph's tables are filled in here. Equal parts are stored
  /// once; loads of zero bytes are left out, several on one link are added.
  PatternId add_pattern(Pattern pattern, std::span<const LinkLoad> link_loads,
                        std::span<const ActorId> members);
  /// A part of the pattern that was added last: from now on its bytes advance part by part, each part at one
  /// rate, once the latency of the whole is over; it ends with its last part. The parts' loads add up to
  /// those of the whole. A part has the whole's `at_least` and slowdown.
  void add_part(PatternId whole, double flow_bytes, std::span<const LinkLoad> link_loads);
  std::size_t size() const { return graph_.size(); }
  /// The finished graph. `link_rates` are the rates of the fabric's links; links that no pattern tells apart
  /// become one resource, and links that can never be the bottleneck are left out. Throws RunError naming the
  /// tasks for tasks that wait for each other, RunError for traffic on a link without bandwidth, and
  /// std::logic_error where bytes sent and received differ.
  TaskGraph finish(std::span<const Rate> link_rates) &&;

 private:
  TaskId add_task(TaskKind kind, ActorId actor, Time duration, double slowdown, PatternId pattern,
                  const Tag& tag);
  void sort_edges();

  TaskGraph graph_;
  std::vector<std::pair<TaskId, TaskId>> edges_;
  bool edges_rise_ = true;        // every edge so far leads to a higher number: no cycle to look for
  std::vector<LinkLoad> sorted_;  // scratch of add_pattern
  std::unordered_map<std::uint64_t, PatternId> known_traffic_,
      known_members_;  // by hash: the first pattern with it
};

/// A task in words, for errors and tables: "feed_forward forward, pipeline rank 3, microbatch 7, layer 12".
std::string describe(const TaskGraph& graph, TaskId task);

}  // namespace moesim
