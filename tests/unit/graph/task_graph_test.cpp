#include <catch2/catch.hpp>

#include "models/base/error.hpp"
#include "sim/graph/timeline.hpp"
#include "tests/support/graphs.hpp"

using namespace moesim;
using namespace moesim::literals;

namespace {

constexpr Rate byte_per_ps{1e12};

/// One pattern of one flow a link.
PatternId add_traffic(GraphBuilder& builder, const std::vector<LinkLoad>& loads) {
  return builder.add_pattern({.flow_bytes = 1}, loads, {});
}

std::string message_of(GraphBuilder builder, const std::vector<Rate>& links) {
  try {
    static_cast<void>(std::move(builder).finish(links));
  } catch (const std::exception& error) {
    return error.what();
  }
  return "no error";
}

}  // namespace

TEST_CASE("Successors keep the order in which edges were added, and parallel edges count twice") {
  GraphBuilder builder(1);
  for (int i = 0; i < 4; ++i) builder.add_barrier();
  builder.add_edge(0, 3);
  builder.add_edge(2, 3);
  builder.add_edge(0, 1);
  builder.add_edge(0, 3);
  builder.add_edge(nothing, 2);
  const TaskGraph graph = std::move(builder).finish({});
  const auto row = [&](TaskId task) {
    return std::vector<TaskId>(graph.successors_of(task).begin(), graph.successors_of(task).end());
  };
  CHECK(row(0) == std::vector<TaskId>{3, 1, 3});
  CHECK(row(1).empty());
  CHECK(row(2) == std::vector<TaskId>{3});
  CHECK(row(3).empty());
  CHECK(graph.predecessor_counts == std::vector<std::uint32_t>{0, 1, 0, 3});
}

TEST_CASE("A graph without tasks is a graph") {
  const TaskGraph graph = GraphBuilder(0).finish({});
  CHECK(graph.size() == 0);
  CHECK(testing::run("fluid", graph).makespan() == 0_ps);
  CHECK(testing::run("ideal", graph).makespan() == 0_ps);
}

TEST_CASE("Edges backwards are fine as long as there is no cycle") {
  GraphBuilder builder(1);
  const TaskId last = builder.add_compute(0, 5_ps, 1, {});
  const TaskId first = builder.add_compute(0, 7_ps, 1, {});
  builder.add_edge(first, last);
  const Timeline timeline = testing::run("fluid", std::move(builder).finish({}));
  CHECK(timeline.starts[last] == 7_ps);
  CHECK(timeline.ends[last] == 12_ps);
}

TEST_CASE("Tasks that wait for each other are named, and no others") {
  GraphBuilder builder(1);
  builder.add_barrier();
  builder.add_compute(0, 1_ps, 1, {.microbatch = 7, .pipeline_rank = 3, .activity = Activity::attention});
  builder.add_compute(0, 1_ps, 1,
                      {.pipeline_rank = 4, .activity = Activity::feed_forward, .pass = PassKind::forward});
  builder.add_barrier();
  builder.add_barrier();
  builder.add_edge(0, 1);
  builder.add_edge(1, 2);
  builder.add_edge(2, 1);
  builder.add_edge(2, 3);
  builder.add_edge(3, 4);
  CHECK(message_of(builder, {}) ==
        "2 tasks wait for each other: (task 1: attention, pipeline rank 3, microbatch 7) -> "
        "(task 2: feed_forward forward, pipeline rank 4) -> task 1");
}

TEST_CASE("A task that waits for itself is a cycle of one") {
  GraphBuilder builder(1);
  builder.add_barrier();
  builder.add_edge(0, 0);
  CHECK(message_of(builder, {}) == "1 tasks wait for each other: (task 0: none) -> task 0");
}

TEST_CASE("A long cycle is named in part") {
  GraphBuilder builder(1);
  for (TaskId task = 0; task < 50; ++task) builder.add_barrier();
  for (TaskId task = 0; task < 50; ++task) builder.add_edge(task, (task + 1) % 50);
  const std::string message = message_of(builder, {});
  CHECK(message.starts_with("50 tasks wait for each other: (task 0: none) -> (task 1: none) -> "));
  CHECK(message.ends_with("(task 11: none) -> 38 more -> task 0"));
}

TEST_CASE("Bytes sent that nobody receives are our own mistake") {
  GraphBuilder builder(1);
  builder.add_pattern({.bytes_sent = 100, .bytes_received = 100}, {}, {});
  builder.add_pattern({.bytes_sent = 100, .bytes_received = 90}, {}, {});
  CHECK(message_of(builder, {}) == "traffic pattern 1: 100 bytes sent, but 90 received");
  CHECK_THROWS_AS(std::move(builder).finish({}), std::logic_error);
}

TEST_CASE("Traffic on a link without bandwidth is an error") {
  GraphBuilder builder(1);
  add_traffic(builder, {{1, 64}});
  CHECK(message_of(builder, {Rate{1}, Rate{0}}) == "link 1 has 64 bytes to carry but no bandwidth");
  CHECK(message_of(builder, {Rate{0}, Rate{1}}) == "no error");
}

TEST_CASE("Links that are busy for the same time in every pattern are one resource") {
  GraphBuilder builder(1);
  add_traffic(builder, {{0, 100}, {1, 100}, {2, 200}, {3, 100}});
  add_traffic(builder, {{0, 50}, {1, 50}, {2, 100}, {3, 60}});
  add_traffic(builder, {{0, 70}, {1, 70}, {2, 140}});
  const TaskGraph graph = std::move(builder).finish(std::vector<Rate>{{1e9}, {1e9}, {2e9}, {1e9}, {1e9}});
  REQUIRE(graph.capacities.size() == 2);  // links 0, 1 and 2; link 3
  CHECK(graph.loads_of(graph.pattern_table[0]).size() == 2);
  CHECK(graph.loads_of(graph.pattern_table[2]).size() == 1);
  CHECK(graph.loads_of(graph.pattern_table[1])[1].bytes == 60);
  CHECK(graph.link_loads_of(graph.pattern_table[0]).size() == 4);
}

TEST_CASE("A link that another outlasts in every pattern is left out, by one byte or not at all") {
  for (const double bytes : {99.0, 101.0}) {
    GraphBuilder builder(1);
    add_traffic(builder, {{0, 100}, {1, bytes}});
    add_traffic(builder, {{0, 50}, {1, 20}});
    add_traffic(builder, {{0, 10}});
    const TaskGraph graph = std::move(builder).finish(std::vector<Rate>{{1e9}, {1e9}});
    CHECK(graph.capacities.size() == (bytes < 100 ? 1 : 2));
  }
}

TEST_CASE("Equal parts of patterns are stored once, and loads on one link are added, empty ones left out") {
  GraphBuilder builder(3);
  const std::vector<LinkLoad> loads{{2, 5}, {0, 7}, {2, 3}, {1, 0}};
  const std::vector<LinkLoad> same{{0, 7}, {2, 8}};
  const std::vector<ActorId> members{0, 2};
  builder.add_pattern({.latency = 1_us, .flow_bytes = 1}, loads, members);
  builder.add_pattern({.latency = 2_us, .flow_bytes = 1}, same, members);
  builder.add_pattern({.latency = 2_us}, {}, {});
  const TaskGraph graph = std::move(builder).finish(std::vector<Rate>{{1e9}, {1e9}, {2e9}});
  CHECK(graph.link_loads.size() == 2);
  CHECK(graph.members.size() == 2);
  CHECK(graph.link_loads_of(graph.pattern_table[1])[1].bytes == 8);
  CHECK(graph.members_of(graph.pattern_table[1])[1] == 2);
  CHECK(graph.link_loads_of(graph.pattern_table[2]).empty());
  CHECK(alone_times(graph)[1].count == Approx(7000));
  CHECK(alone_times(graph)[2].count == 0);
}

TEST_CASE("The critical path goes back from the last end, and its shares add up to the makespan") {
  GraphBuilder builder(2);
  const PatternId traffic = add_traffic(builder, {{0, 30}});
  const TaskId a = builder.add_compute(0, 10_ps, 1, {});
  const TaskId b = builder.add_compute(1, 50_ps, 1, {});
  const TaskId c = builder.add_coflow(traffic, {});
  const TaskId d = builder.add_compute(0, 5_ps, 1, {});
  builder.add_edge(a, c);
  builder.add_edge(b, d);
  builder.add_edge(c, d);
  const TaskGraph graph = std::move(builder).finish(std::vector<Rate>{byte_per_ps});
  const Timeline timeline = testing::run("fluid", graph);
  check(graph, timeline);
  const std::vector<CriticalStep> path = critical_path(graph, timeline);
  REQUIRE(path.size() == 2);
  CHECK((path[0].task == d && path[0].share == 5_ps));
  CHECK((path[1].task == b && path[1].share == 50_ps));
  CHECK(critical_path(GraphBuilder(0).finish({}), {}).empty());
}

TEST_CASE("A timeline that cannot be is refused with the task's name") {
  GraphBuilder builder(1);
  const TaskId a = builder.add_compute(0, 10_ps, 1, {.activity = Activity::head});
  const TaskId b = builder.add_compute(0, 10_ps, 1, {.activity = Activity::optimizer});
  builder.add_edge(a, b);
  const TaskGraph graph = std::move(builder).finish({});
  const Timeline good = testing::run("ideal", graph);
  CHECK_NOTHROW(check(graph, good));
  const auto message = [&](Time start, Time end) {
    Timeline bad = good;
    bad.starts[b] = start;
    bad.ends[b] = end;
    try {
      check(graph, bad);
    } catch (const RunError& error) {
      return std::string(error.what());
    }
    return std::string("no error");
  };
  CHECK(message(10_ps, 20_ps) == "no error");
  CHECK(message(9_ps, 20_ps) == "(task 1: optimizer) starts 1 ps before the end of (task 0: head)");
  CHECK(message(10_ps, 10_ps) == "(task 1: optimizer) takes no time, but 10 ps alone");
  CHECK(message(20_ps, 10_ps) == "(task 1: optimizer) ends 10 ps before its start");
  CHECK(message(Time{-1}, Time{-1}) == "(task 1: optimizer) never ran");
  CHECK_THROWS_WITH(check(graph, {}), "a graph of 2 tasks has 0 starts and 0 ends");
}

TEST_CASE("A fingerprint tells timelines apart that differ in a picosecond or in order") {
  const Timeline timeline{{0_ps, 1_ps}, {5_ps, 9_ps}, 2};
  CHECK(fingerprint(timeline).size() == 16);
  CHECK(fingerprint(timeline) == fingerprint(Timeline{{0_ps, 1_ps}, {5_ps, 9_ps}, 7}));
  CHECK(fingerprint(timeline) != fingerprint(Timeline{{0_ps, 1_ps}, {5_ps, 8_ps}, 2}));
  CHECK(fingerprint(timeline) != fingerprint(Timeline{{0_ps, 1_ps}, {9_ps, 5_ps}, 2}));
  CHECK(fingerprint(timeline) != fingerprint(Timeline{{0_ps}, {1_ps}, 2}));
}
