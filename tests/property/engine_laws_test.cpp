// Laws of the engines, over random graphs with every feature. Each event rounds to a picosecond, so an end
// may be off by half of one for each task on the way to it.
#include <catch2/catch.hpp>

#include <algorithm>
#include <numeric>

#include "sim/engine/sharing.hpp"
#include "tests/support/graphs.hpp"

using namespace moesim;
using testing::build;
using testing::random_sketch;
using testing::Sketch;

namespace {

constexpr std::uint64_t graphs = 300;

Sketch sketch_of(std::uint64_t number) {
  RandomStream random = Random(1).stream("engine laws", number);
  return random_sketch(random, static_cast<std::uint32_t>(2 + random.below(60)));
}

/// The largest difference between two lists of ends, in picoseconds.
template <class A, class B>
double distance(const A& a, const B& b) {
  double largest = 0;
  for (std::size_t i = 0; i < a.size(); ++i) largest = std::max(largest, std::abs(a[i] - b[i]));
  return largest;
}

std::vector<double> ends_of(const Timeline& timeline) {
  std::vector<double> ends;
  for (const Time end : timeline.ends) ends.push_back(static_cast<double>(end.count));
  return ends;
}

/// The same sketch with its tasks in another order.
Sketch permuted(const Sketch& sketch, const std::vector<TaskId>& place) {
  Sketch result = sketch;
  for (TaskId task = 0; task < place.size(); ++task) {
    result.tasks[place[task]] = sketch.tasks[task];
    for (TaskId& before : result.tasks[place[task]].after) before = place[before];
  }
  return result;
}

std::vector<TaskId> shuffled(std::size_t size, RandomStream random) {
  std::vector<TaskId> place(size);
  std::iota(place.begin(), place.end(), 0u);
  for (std::size_t i = size; i > 1; --i) std::swap(place[i - 1], place[random.below(i)]);
  return place;
}

/// Rates doubled, times halved.
Sketch twice_as_fast(Sketch sketch) {
  for (Rate& rate : sketch.links) rate = rate * 2;
  for (testing::TrafficSketch& traffic : sketch.patterns) {
    traffic.pattern.latency.count /= 2;
    traffic.pattern.at_least.count /= 2;
  }
  for (testing::TaskSketch& task : sketch.tasks) task.duration.count /= 2;
  return sketch;
}

/// Times made even, so that they can be halved.
Sketch even(Sketch sketch) {
  for (testing::TrafficSketch& traffic : sketch.patterns) {
    traffic.pattern.latency.count *= 2;
    traffic.pattern.at_least.count *= 2;
  }
  for (testing::TaskSketch& task : sketch.tasks) task.duration.count *= 2;
  return sketch;
}

/// How long at least one coflow that loads the link was past its latency, in picoseconds.
double time_in_use(const TaskGraph& graph, const Timeline& timeline, std::uint32_t link, double& bytes) {
  std::vector<std::pair<std::int64_t, std::int64_t>> spans;
  for (TaskId task = 0; task < graph.size(); ++task) {
    if (graph.kinds[task] != TaskKind::coflow) continue;
    const Pattern& pattern = graph.pattern_table[graph.patterns[task]];
    for (const LinkLoad& load : graph.link_loads_of(pattern)) {
      if (load.link != link) continue;
      bytes += load.bytes;
      spans.emplace_back((timeline.starts[task] + pattern.latency).count, timeline.ends[task].count);
    }
  }
  std::ranges::sort(spans);
  std::int64_t in_use = 0, until = 0;
  for (const auto& [start, end] : spans) {
    in_use += std::max<std::int64_t>(0, end - std::max(start, until));
    until = std::max(until, end);
  }
  return static_cast<double>(in_use);
}

/// Checks that no resource carries too much and that every coflow is held back by something; returns how
/// often that is a full resource.
std::size_t count_full(const TaskGraph& graph, const Sharing& sharing, const std::vector<PatternId>& joined) {
  std::vector<double> used(graph.capacities.size(), 0), fastest(graph.capacities.size(), 0);
  const auto rate = [&](std::uint32_t slot) {
    return graph.pattern_table[joined[slot]].flow_bytes / sharing.pace(slot).count;
  };
  for (std::uint32_t slot = 0; slot < joined.size(); ++slot) {
    if (joined[slot] == nothing) continue;
    for (const Load& load : graph.loads_of(graph.pattern_table[joined[slot]])) {
      used[load.resource] +=
          load.bytes * 1e12 / sharing.pace(slot).count / graph.capacities[load.resource].count;
      fastest[load.resource] = std::max(fastest[load.resource], rate(slot));
    }
  }
  for (const double share : used) CHECK(share <= 1 + 1e-9);
  std::size_t full = 0;
  for (std::uint32_t slot = 0; slot < joined.size(); ++slot) {
    if (joined[slot] == nothing) continue;
    const Pattern& pattern = graph.pattern_table[joined[slot]];
    const bool is_limited =
        sharing.pace(slot).count <= static_cast<double>(pattern.at_least.count) * (1 + 1e-9);
    const std::size_t fulls =
        static_cast<std::size_t>(std::ranges::count_if(graph.loads_of(pattern), [&](const Load& load) {
          return used[load.resource] > 1 - 1e-9 && rate(slot) > fastest[load.resource] * (1 - 1e-9);
        }));
    CHECK((is_limited || fulls > 0));
    full += fulls;
  }
  return full;
}

}  // namespace

TEST_CASE("The fluid engine agrees with a naive one that shares links, not resources") {
  double worst = 0;
  for (std::uint64_t number = 0; number < graphs; ++number) {
    const Sketch sketch = sketch_of(number);
    const TaskGraph graph = build(sketch);
    const Timeline timeline = testing::run("fluid", graph);
    check(graph, timeline);
    const double off = distance(ends_of(timeline), testing::naive_ends(graph, sketch.links));
    INFO("graph " << number << " of " << graph.size() << " tasks");
    CHECK(off <= static_cast<double>(graph.size()));
    worst = std::max(worst, off);
  }
  CHECK(worst > 0);  // the naive one does not round
}

TEST_CASE("No contention is never slower: ideal <= fluid, task by task") {
  std::size_t slower = 0;
  for (std::uint64_t number = 0; number < graphs; ++number) {
    const TaskGraph graph = build(sketch_of(number));
    const Timeline ideal = testing::run("ideal", graph);
    const Timeline fluid = testing::run("fluid", graph);
    check(graph, ideal);
    for (TaskId task = 0; task < graph.size(); ++task) {
      INFO("graph " << number << ", task " << task);
      CHECK(ideal.ends[task] <= fluid.ends[task] + Time{1});
      CHECK(ideal.starts[task] <= fluid.starts[task] + Time{1});
      slower += ideal.ends[task] < fluid.ends[task] ? 1 : 0;
    }
  }
  CHECK(slower > 1000);  // the graphs do contend
}

TEST_CASE("A makespan is at least the critical path and exactly the sum of its shares") {
  for (std::uint64_t number = 0; number < graphs; ++number) {
    const TaskGraph graph = build(sketch_of(number));
    const Timeline fluid = testing::run("fluid", graph);
    Time sum;
    for (const CriticalStep& step : critical_path(graph, fluid)) sum += step.share;
    CHECK(sum == fluid.makespan());
    CHECK(fluid.makespan() + Time{1} >= testing::run("ideal", graph).makespan());
  }
}

TEST_CASE("No link carries more than its rate over the time in which it is in use") {
  for (std::uint64_t number = 0; number < graphs; ++number) {
    const Sketch sketch = sketch_of(number);
    const TaskGraph graph = build(sketch);
    const Timeline timeline = testing::run("fluid", graph);
    for (std::uint32_t link = 0; link < sketch.links.size(); ++link) {
      double bytes = 0;
      const double in_use = time_in_use(graph, timeline, link, bytes);
      CHECK(bytes / sketch.links[link].count * 1e12 <= in_use + static_cast<double>(graph.size()));
    }
  }
}

TEST_CASE("Rates doubled and times halved halve every time") {
  for (std::uint64_t number = 0; number < graphs; ++number) {
    const Sketch sketch = even(sketch_of(number));
    for (const std::string engine : {"ideal", "fluid"}) {
      const std::vector<double> slow = ends_of(testing::run(engine, build(sketch)));
      std::vector<double> fast = ends_of(testing::run(engine, build(twice_as_fast(sketch))));
      for (double& end : fast) end *= 2;
      CHECK(distance(slow, fast) <= 2.0 * static_cast<double>(slow.size()));
    }
  }
}

TEST_CASE("The same graph has the same fingerprint every time") {
  for (std::uint64_t number = 0; number < 50; ++number) {
    const TaskGraph graph = build(sketch_of(number));
    for (const std::string engine : {"ideal", "fluid"}) {
      CHECK(fingerprint(testing::run(engine, graph)) ==
            fingerprint(testing::run(engine, build(sketch_of(number)))));
    }
  }
}

TEST_CASE("Times do not depend on the order in which tasks are numbered") {
  for (std::uint64_t number = 0; number < graphs; ++number) {
    const Sketch sketch = sketch_of(number);
    const std::vector<TaskId> place = shuffled(sketch.tasks.size(), Random(2).stream("shuffle", number));
    for (const std::string engine : {"ideal", "fluid"}) {
      const std::vector<double> ends = ends_of(testing::run(engine, build(sketch)));
      const std::vector<double> moved = ends_of(testing::run(engine, build(permuted(sketch, place))));
      std::vector<double> back;
      for (const TaskId task : place) back.push_back(moved[task]);
      CHECK(distance(ends, back) <= (engine == "ideal" ? 0 : 1));
    }
  }
}

TEST_CASE("Every coflow has a bottleneck: a limit of its own, or a full resource where no flow is faster") {
  std::size_t full = 0;
  for (std::uint64_t number = 0; number < graphs; ++number) {
    RandomStream random = Random(3).stream("bottleneck", number);
    const TaskGraph graph = build(random_sketch(random, 2));
    const std::vector<RealTime> alone = alone_times(graph);
    Sharing sharing(graph);
    std::vector<PatternId> joined(12, nothing);
    for (int step = 0; step < 40; ++step) {
      const std::uint32_t slot = static_cast<std::uint32_t>(random.below(joined.size()));
      const PatternId next = static_cast<PatternId>(random.below(graph.pattern_table.size()));
      if (joined[slot] != nothing) {
        sharing.leave(slot);
        joined[slot] = nothing;
      } else if (alone[next].count > 0) {
        sharing.join(slot, next, false);
        joined[slot] = next;
      }
      sharing.settle();
      full += count_full(graph, sharing, joined);
    }
  }
  CHECK(full > 1000);
}
