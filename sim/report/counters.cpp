#include "sim/report/counters.hpp"

#include <algorithm>
#include <unordered_map>
#include <utility>

#include "models/base/at.hpp"
#include "sim/report/lifetimes.hpp"
#include "sim/report/link_use.hpp"
#include "sim/report/report.hpp"

namespace moesim {
namespace {

/// From the start of the first task to the end of the last one.
struct Span {
  Time start = longest_time, end;
  bool is_known() const { return start <= end; }
  void add(Time from, Time to) {
    start = std::min(start, from);
    end = std::max(end, to);
  }
};

/// When an actor computes what of which pass.
class ComputeSpans {
 public:
  void add(const Tag& tag, Time start, Time end) {
    spans_[key(tag)].add(start, end);
    spans_[key(whole_pass(tag))].add(start, end);
  }
  Span of(const Tag& tag) const {
    const auto found = spans_.find(key(tag));
    return found == spans_.end() ? Span{} : found->second;
  }
  /// All blocks of the tag's pass. What makes the weight gradients ends a backward.
  static Tag whole_pass(Tag tag) {
    tag.layer = -2;
    tag.activity = Activity::none;
    if (tag.pass == PassKind::backward) tag.pass = PassKind::backward_weight;
    return tag;
  }

 private:
  static std::uint64_t key(const Tag& tag) {
    const auto what =
        static_cast<std::uint64_t>(tag.activity) * pass_names.size() + static_cast<std::uint64_t>(tag.pass);
    return static_cast<std::uint64_t>(static_cast<std::uint32_t>(tag.microbatch)) << 32 |
           static_cast<std::uint64_t>(static_cast<std::uint16_t>(tag.layer)) << 16 |
           static_cast<std::uint64_t>(static_cast<std::uint8_t>(tag.chunk)) << 8 | what;
  }

  std::unordered_map<std::uint64_t, Span> spans_;
};

/// The tasks of the act with which a slot's block keeps or lets go.
Tag tag_of(const Slot& slot, std::int64_t layer, Activity block) {
  const PassKind pass = slot.pass == Pass::forward          ? PassKind::forward
                        : slot.pass == Pass::backward_input ? PassKind::backward_input
                                                            : PassKind::backward_weight;
  return {.microbatch = slot.microbatch,
          .layer = static_cast<std::int16_t>(layer),
          .chunk = static_cast<std::int8_t>(slot.chunk),
          .activity = block,
          .pass = pass};
}

/// One rank of the pipeline, seen from one of its devices.
struct Watched {
  ActorId actor = 0;
  ComputeSpans spans;
};

ActorId actor_of(const Scenario& scenario, const TaskGraph& graph, std::size_t rank,
                 const ExpertPosition& position) {
  const std::size_t count = graph.actor_count / static_cast<std::size_t>(scenario.layout.sizes().pipeline);
  std::size_t place = 0;
  if (count > 1) {
    const std::vector<Group> groups = scenario.layout.expert_groups();
    place = graph.representatives[at(at(groups, position.group), position.rank)];
  }
  return static_cast<ActorId>(rank * count + place);
}

std::vector<Watched> watch(const Scenario& scenario, const TaskGraph& graph, const Timeline& timeline,
                           const std::vector<ExpertPosition>& positions) {
  std::vector<Watched> ranks(positions.size());
  std::vector<std::size_t> rank_of(graph.actor_count, ranks.size());
  for (std::size_t rank = 0; rank < ranks.size(); ++rank) {
    ranks[rank].actor = actor_of(scenario, graph, rank, positions[rank]);
    rank_of[ranks[rank].actor] = rank;
  }
  for (TaskId task = 0; task < graph.size(); ++task) {
    if (graph.kinds[task] != TaskKind::compute || rank_of[graph.actors[task]] == ranks.size()) continue;
    ranks[rank_of[graph.actors[task]]].spans.add(graph.tags[task], timeline.starts[task],
                                                 timeline.ends[task]);
  }
  return ranks;
}

/// From the start of a microbatch's forward to the end of its last pass. A slot without a task, as the second
/// half of a pair whose times are given, is where the slots before it end.
Counter in_flight(const std::vector<Slot>& slots, const Watched& rank) {
  Counter counter{.actor = rank.actor, .name = "microbatches in flight", .parts = {"microbatches"}};
  Time end;
  double alive = 0;
  counter.set({}, {alive});
  for (const Slot& slot : slots) {
    const Span span = rank.spans.of(ComputeSpans::whole_pass(tag_of(slot, -1, Activity::none)));
    const Time before = end;
    if (span.is_known()) end = std::max(end, span.end);
    if (slot.pass == Pass::forward) counter.set(span.is_known() ? span.start : before, {++alive});
    if (slot.pass == Pass::backward || slot.pass == Pass::backward_weight) counter.set(end, {--alive});
  }
  return counter;
}

/// What rises, rises at the start of an act; what falls, at its end. An act without a task is with the one
/// before it.
Counter memory(const std::vector<HeldChange>& changes, const std::vector<Slot>& slots, const Watched& rank,
               const MemoryReport& report) {
  const auto count = [](Bytes bytes) { return static_cast<double>(bytes.count); };
  std::vector<double> held{count(report.parameters), count(report.gradients), count(report.optimizer),
                           count(report.buffers), 0};
  Counter counter{.actor = rank.actor,
                  .name = "memory",
                  .parts = {"parameters", "gradients", "optimizer", "buffers", "activations"}};
  counter.set({}, held);
  Time now;
  Bytes alive;
  for (const HeldChange& change : changes) {
    const Span span = rank.spans.of(tag_of(slots[change.slot], change.layer, change.block));
    if (span.is_known()) now = std::max(now, change.bytes > Bytes{} ? span.start : span.end);
    alive += change.bytes;
    held.back() = count(alive);
    counter.set(now, held);
  }
  return counter;
}

void add_ranks(const Work& work, const TaskGraph& graph, const Timeline& timeline,
               std::vector<Counter>& counters) {
  const std::size_t ranks = work.order.ranks.size();
  std::vector<ExpertPosition> positions(ranks);
  std::optional<Lifetimes> lifetimes;
  std::vector<MemoryReport> reports;
  if (!work.scenario.fixed) {
    lifetimes.emplace(work);
    reports = memory_of_ranks(work);
    for (std::size_t rank = 0; rank < ranks; ++rank)
      positions[rank] = lifetimes->most(static_cast<std::int64_t>(rank)).position;
  }
  const std::vector<Watched> watched = watch(work.scenario, graph, timeline, positions);
  for (std::size_t rank = 0; rank < ranks; ++rank) {
    const std::vector<Slot>& slots = work.order.ranks[rank];
    counters.push_back(in_flight(slots, watched[rank]));
    if (!lifetimes) continue;
    const auto index = static_cast<std::int64_t>(rank);
    counters.push_back(
        memory(lifetimes->changes(index, positions[rank]), slots, watched[rank], reports[rank]));
  }
}

/// A communication begins to use a class of links, or ends.
struct UseChange {
  Time time;
  double rate;  ///< bytes a picosecond, more or fewer
};

/// Bytes of each pattern on the links of a class.
std::vector<double> bytes_of_patterns(const TaskGraph& graph, std::span<const Link> links, LinkClass of) {
  std::vector<double> bytes;
  for (const Pattern& pattern : graph.pattern_table) {
    double sum = 0;
    for (const LinkLoad& load : graph.link_loads_of(pattern)) {
      if (links[load.link].link_class == of) sum += load.carried;
    }
    bytes.push_back(sum);
  }
  return bytes;
}

std::vector<UseChange> use_changes(const TaskGraph& graph, const Timeline& timeline,
                                   const std::vector<double>& bytes) {
  std::vector<UseChange> changes;
  for (TaskId task = 0; task < graph.size(); ++task) {
    if (graph.kinds[task] != TaskKind::coflow || bytes[graph.patterns[task]] == 0) continue;
    const auto [start, end] = bytes_under_way(graph, timeline, task);
    if (start == end) continue;
    const double rate = bytes[graph.patterns[task]] / static_cast<double>((end - start).count);
    changes.push_back({start, rate});
    changes.push_back({end, -rate});
  }
  std::stable_sort(changes.begin(), changes.end(),
                   [](const UseChange& a, const UseChange& b) { return a.time < b.time; });
  return changes;
}

void add_links(const Scenario& scenario, const TaskGraph& graph, const Timeline& timeline,
               std::vector<Counter>& counters) {
  const std::span<const Link> links = scenario.fabric().links();
  for (std::size_t c = 0; c < link_class_count; ++c) {
    const auto of = static_cast<LinkClass>(c);
    double capacity = 0;  // bytes a picosecond
    for (const Link& link : links) capacity += link.link_class == of ? link.rate.count * 1e-12 : 0;
    if (capacity == 0) continue;
    Counter counter{.name = std::string(link_class_names[c]), .parts = {"percent of capacity"}};
    counter.set({}, {0});
    double rate = 0;
    std::int64_t under_way = 0;
    for (const UseChange& change : use_changes(graph, timeline, bytes_of_patterns(graph, links, of))) {
      rate += change.rate;
      under_way += change.rate > 0 ? 1 : -1;
      if (under_way == 0) rate = 0;  // what rounding leaves
      counter.set(change.time, {100 * rate / capacity});
    }
    counters.push_back(std::move(counter));
  }
}

}  // namespace

void Counter::set(Time time, std::vector<double> values) {
  if (!samples.empty() && samples.back().time == time) samples.pop_back();
  if (!samples.empty() && samples.back().values == values) return;
  samples.push_back({time, std::move(values)});
}

std::vector<Counter> counters_of(const Work& work, const TaskGraph& graph, const Timeline& timeline) {
  std::vector<Counter> counters;
  if (!work.scenario.communication) add_ranks(work, graph, timeline, counters);
  if (work.scenario.cluster) add_links(work.scenario, graph, timeline, counters);
  return counters;
}

}  // namespace moesim
