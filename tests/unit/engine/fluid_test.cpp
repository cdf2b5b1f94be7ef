// Times worked out by hand. Links carry one byte a picosecond.
#include <catch2/catch.hpp>

#include "models/base/error.hpp"
#include "sim/engine/sharing.hpp"
#include "tests/support/graphs.hpp"

using namespace moesim;
using namespace moesim::literals;

namespace {

using Times = std::vector<std::int64_t>;

/// A graph on some links of one byte a picosecond and four actors; ends in picoseconds.
struct Case {
  GraphBuilder builder{4};
  std::vector<Rate> links = std::vector<Rate>(8, Rate{1e12});

  /// A coflow of its own pattern.
  TaskId coflow(const Pattern& pattern, const std::vector<LinkLoad>& loads,
                const std::vector<ActorId>& members = {}) {
    return builder.add_coflow(builder.add_pattern(pattern, loads, members), {});
  }
  /// One flow over one link.
  TaskId flow(double bytes, std::uint32_t link = 0) { return coflow({.flow_bytes = bytes}, {{link, bytes}}); }
  TaskId compute(Time duration, ActorId actor = 0, double slowdown = 1) {
    return builder.add_compute(actor, duration, slowdown, {});
  }
  void edge(TaskId before, TaskId after) { builder.add_edge(before, after); }
  Times ends(std::string_view engine = "fluid") {
    const TaskGraph graph = std::move(builder).finish(links);
    const Timeline timeline = testing::run(engine, graph);
    check(graph, timeline);
    Times ends;
    for (const Time end : timeline.ends) ends.push_back(end.count);
    return ends;
  }
};

}  // namespace

TEST_CASE("Two coflows on one link get half of it each, and all of it once alone") {
  Case same;
  same.flow(1000), same.flow(1000);
  CHECK(same.ends() == Times{2000, 2000});
  Case different;
  different.flow(1000), different.flow(500);
  CHECK(different.ends() == Times{1500, 1000});
}

TEST_CASE("The ideal engine knows no sharing") {
  Case c;
  c.flow(1000), c.flow(500);
  c.coflow({.latency = 10_ps, .flow_bytes = 1, .at_least = 70_ps}, {{1, 20}, {2, 60}});
  c.edge(0, 2);
  CHECK(c.ends("ideal") == Times{1000, 500, 1080});
}

TEST_CASE("Sharing is fair between flows, not between coflows") {
  Case c;  // three flows, one and two: each flow gets 1/6, then 1/4, then 1/3
  c.coflow({.flow_bytes = 1000}, {{0, 3000}});
  c.coflow({.flow_bytes = 400}, {{0, 400}});
  c.coflow({.flow_bytes = 300}, {{0, 600}});
  CHECK(c.ends() == Times{4000, 2200, 1800});
}

TEST_CASE("A flow beside a coflow gets one share of many") {
  Case c;
  c.coflow({.flow_bytes = 250}, {{0, 1000}});
  c.flow(100);
  CHECK(c.ends() == Times{1100, 500});
}

TEST_CASE("What a coflow cannot use, because it waits for another link, goes to the others") {
  Case c;
  c.coflow({.flow_bytes = 250},
           {{0, 1000}, {1, 2000}});  // link 1 holds each flow to 1/8; link 0 is half free
  c.flow(100);
  c.flow(30, 1);  // link 1: nine flows until it has its 30 bytes
  CHECK(c.ends() == Times{2030, 180, 270});
}

TEST_CASE("A coflow that cannot use its links leaves the rest of them") {
  Case c;
  c.coflow({.flow_bytes = 1000, .at_least = 4000_ps}, {{0, 1000}});
  c.flow(300);
  CHECK(c.ends() == Times{4000, 400});
}

TEST_CASE("Nothing is loaded during latency") {
  Case c;
  c.coflow({.latency = 100_ps, .flow_bytes = 300}, {{0, 300}});
  c.flow(200);
  CHECK(c.ends() ==
        Times{500, 300});  // 100 bytes before, then half each: 200 ps for the rest, 100 bytes; 200 more
}

TEST_CASE("A coflow of nothing takes no time, one without bytes its latency") {
  Case c;
  const TaskId before = c.compute(10_ps);
  const TaskId zero = c.coflow({}, {});
  const TaskId latency = c.coflow({.latency = 7_ps, .holds_multiprocessors = true}, {}, {0});
  const TaskId timed = c.coflow({.at_least = 9_ps}, {});
  const TaskId barrier = c.builder.add_barrier();
  c.edge(before, zero), c.edge(zero, latency), c.edge(latency, timed), c.edge(timed, barrier);
  CHECK(c.ends() == Times{10, 10, 17, 26, 26});
}

TEST_CASE("Compute slows down while a coflow holds multiprocessors of its actor, latency included") {
  Case c;
  const TaskId slowed = c.compute(1000_ps, 0, 1.5);  // 200 done at 200, 2/3 of 400 more at 600
  const TaskId elsewhere = c.compute(1000_ps, 1, 1.5);
  const TaskId wait = c.compute(200_ps, 2);
  const TaskId coflow =
      c.coflow({.latency = 100_ps, .flow_bytes = 300, .holds_multiprocessors = true}, {{0, 300}}, {0, 2});
  c.edge(wait, coflow);
  const Times ends = c.ends();
  CHECK(ends[slowed] == 1133);
  CHECK(ends[elsewhere] == 1000);
  CHECK(ends[coflow] == 600);
}

TEST_CASE("Two coflows that hold an actor slow it no more than one, until the last has ended") {
  Case c;
  const TaskId slowed = c.compute(1000_ps, 0, 2);
  c.coflow({.latency = 200_ps, .holds_multiprocessors = true}, {}, {0});
  c.coflow({.latency = 400_ps, .holds_multiprocessors = true}, {}, {0});
  c.coflow({.latency = 900_ps}, {}, {0});  // holds nothing
  CHECK(c.ends()[slowed] == 1200);
}

TEST_CASE("A coflow slows down while any of its members computes") {
  Case c;
  c.compute(300_ps, 0);
  c.compute(300_ps, 1);
  const TaskId next = c.compute(100_ps, 1);
  c.edge(1, next);
  const TaskId coflow = c.coflow({.flow_bytes = 1000, .slowdown = 2}, {{0, 1000}}, {0, 1, 2});
  const TaskId other = c.coflow({.flow_bytes = 1000, .slowdown = 2}, {{1, 1000}}, {2});
  const Times ends = c.ends();
  CHECK(ends[coflow] == 1200);  // half speed for 400 ps
  CHECK(ends[other] == 1000);
}

TEST_CASE("A slowed coflow takes slowdown times as long as alone, and where it shares, it may lose nothing") {
  Case c;
  c.compute(10'000_ps, 0);
  const TaskId slowed = c.coflow({.flow_bytes = 1000, .slowdown = 2}, {{0, 1000}}, {0});
  const TaskId beside = c.flow(600);  // half the link is all that both want
  const Times ends = c.ends();
  CHECK(ends[beside] == 1200);
  CHECK(ends[slowed] == 2000);
}

TEST_CASE("A coflow that begins as another ends shares nothing with it, and one tick earlier it does") {
  for (const std::int64_t start : {1000, 999}) {
    Case c;
    const TaskId first = c.flow(1000);
    const TaskId wait = c.compute(Time{start});
    const TaskId second = c.flow(500);
    c.edge(wait, second);
    const Times ends = c.ends();
    CHECK(ends[first] == (start == 1000 ? 1000 : 1001));  // the last byte at half speed
    CHECK(ends[second] == 1500);
  }
}

TEST_CASE("All that ends at one instant has ended before what follows is shared") {
  Case c;
  std::vector<TaskId> firsts, seconds;
  for (int i = 0; i < 4; ++i) firsts.push_back(c.flow(100));
  for (int i = 0; i < 4; ++i) seconds.push_back(c.flow(50));
  const TaskId joined = c.flow(10);
  for (std::size_t i = 0; i < 4; ++i) {
    c.edge(firsts[i], seconds[i]);
    c.edge(seconds[i], joined);
  }
  CHECK(c.ends() == Times{400, 400, 400, 400, 600, 600, 600, 600, 610});
}

TEST_CASE("More coflows than fit in place share and leave one by one") {
  Case c;  // the k-th has 100 k bytes: in the k-th interval each of the 8 - k + 1 left moves 100 bytes
  for (int k = 1; k <= 8; ++k) c.flow(100.0 * k);
  CHECK(c.ends() == Times{800, 1500, 2100, 2600, 3000, 3300, 3500, 3600});
}

TEST_CASE("Only the connected part that changes is solved again") {
  GraphBuilder builder(1);
  const auto add = [&](const std::vector<LinkLoad>& loads) {
    return builder.add_pattern({.flow_bytes = 10}, loads, {});
  };
  const PatternId left = add({{0, 10}}), right = add({{1, 10}}), both = add({{0, 10}, {1, 20}}),
                  other = add({{2, 10}});
  const TaskGraph graph = std::move(builder).finish(std::vector<Rate>(3, Rate{1e12}));
  Sharing sharing(graph);
  const auto settled = [&] {
    const std::span<const std::uint32_t> slots = sharing.settle();
    std::vector<std::uint32_t> sorted(slots.begin(), slots.end());
    std::ranges::sort(sorted);
    return sorted;
  };
  using Slots = std::vector<std::uint32_t>;
  sharing.join(0, left, false);
  sharing.join(1, right, false);
  sharing.join(2, other, false);
  CHECK(settled() == Slots{0, 1, 2});
  CHECK(settled().empty());
  sharing.join(3, other, false);
  CHECK(settled() == Slots{2, 3});
  sharing.join(4, both, false);
  CHECK(settled() == Slots{0, 1, 4});
  CHECK(sharing.pace(4).count == Approx(30));  // link 1: two flows and one
  CHECK(sharing.pace(0).count == Approx(15));  // link 0: what is left
  sharing.leave(4);
  CHECK(settled() == Slots{0, 1});
  CHECK(sharing.pace(0).count == 10);
  sharing.leave(0);
  CHECK(settled().empty());
}

TEST_CASE("A graph with a cycle that reached an engine ends with the names of those that wait") {
  TaskGraph graph = [] {
    GraphBuilder builder(1);
    for (int i = 0; i < 3; ++i) builder.add_compute(0, 1_ps, 1, {.activity = Activity::attention});
    builder.add_edge(1, 2);
    return std::move(builder).finish({});
  }();
  ++graph.predecessor_counts[1];
  for (const std::string engine : {"fluid", "ideal"}) {
    CHECK_THROWS_WITH(
        testing::run(engine, graph),
        "2 of 3 tasks never ran: (task 1: attention) waits for 1, (task 2: attention) waits for 1");
  }
}

TEST_CASE("A run beyond 100 days is an error, one up to 100 days is not") {
  const Time half{4'320'000'000'000'000'000};
  for (const std::int64_t more : {0, 1}) {
    for (const std::string engine : {"fluid", "ideal"}) {
      Case c;
      c.compute(half), c.compute(half + Time{more});
      c.edge(0, 1);
      if (more == 0) {
        CHECK(c.ends(engine)[1] == 2 * half.count);
      } else {
        CHECK_THROWS_AS(c.ends(engine), RunError);
      }
    }
  }
  Case slow;
  slow.links[0] = Rate{1e-3};
  slow.flow(1e9);
  CHECK_THROWS_AS(slow.ends(), RunError);
}
