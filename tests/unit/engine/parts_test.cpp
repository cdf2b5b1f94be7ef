// Coflows in parts, worked out by hand. Links carry one byte a picosecond.
#include <catch2/catch.hpp>

#include "tests/support/graphs.hpp"

using namespace moesim;
using namespace moesim::literals;

namespace {

using Times = std::vector<std::int64_t>;

/// A thousand bytes over link 0 and two hundred over link 1.
PatternId add_two_parts(GraphBuilder& builder, Pattern whole, const std::vector<ActorId>& members = {}) {
  whole.flow_bytes = 600;
  const PatternId id = builder.add_pattern(whole, std::vector<LinkLoad>{{0, 1000}, {1, 200}}, members);
  builder.add_part(id, 1000, std::vector<LinkLoad>{{0, 1000}});
  builder.add_part(id, 200, std::vector<LinkLoad>{{1, 200}});
  return id;
}

/// Checks the ends on each engine that shares.
void check_ends(GraphBuilder builder, const Times& expected) {
  const TaskGraph graph = std::move(builder).finish(std::vector<Rate>(2, Rate{1e12}));
  for (const std::string engine : {"fluid", "simgrid"}) {
    if (!testing::has_engine(engine)) continue;
    Times ends;
    for (const Time end : testing::run(engine, graph).ends) ends.push_back(end.count);
    INFO(engine);
    CHECK(ends == expected);
  }
}

}  // namespace

TEST_CASE("A coflow in parts ends with its last part, and a part that has ended leaves its link to others") {
  GraphBuilder builder(1);
  builder.add_coflow(add_two_parts(builder, {.latency = 100_ps}), {});
  const std::vector<LinkLoad> loads{{1, 600}};
  builder.add_coflow(builder.add_pattern({.latency = 100_ps, .flow_bytes = 600}, loads, {}), {});
  builder.add_edge(0, builder.add_compute(0, 10_ps, 1, {}));
  check_ends(std::move(builder), {1100, 900, 1110});
}

TEST_CASE("All parts of a coflow go slower while a member computes, as the whole would") {
  GraphBuilder builder(2);
  builder.add_compute(0, 300_ps, 1, {});
  const PatternId slowed = add_two_parts(builder, {.slowdown = 2}, {0, 1});
  builder.add_coflow(slowed, {});
  check_ends(std::move(builder), {300, 1150});
}

TEST_CASE("A part takes no less time than its whole has to") {
  GraphBuilder builder(1);
  builder.add_coflow(add_two_parts(builder, {.at_least = 4000_ps}), {});
  check_ends(std::move(builder), {4000});
}

TEST_CASE("A coflow in parts holds multiprocessors until its last part has ended, and can run again") {
  GraphBuilder builder(1);
  builder.add_compute(0, 2000_ps, 2, {});  // half of 1000, then 1500 alone, 500 of 1000, 1500 - 500
  const PatternId pattern = add_two_parts(builder, {.holds_multiprocessors = true}, {0});
  builder.add_coflow(pattern, {});
  const TaskId pause = builder.add_compute(0, 300_ps, 1, {});
  const TaskId again = builder.add_coflow(pattern, {});
  builder.add_edge(1, pause);
  builder.add_edge(pause, again);
  check_ends(std::move(builder), {3000, 1000, 1300, 2300});
}

TEST_CASE("The ideal engine takes a coflow in parts as a whole") {
  GraphBuilder builder(1);
  builder.add_coflow(add_two_parts(builder, {.latency = 100_ps}), {});
  const TaskGraph graph = std::move(builder).finish(std::vector<Rate>(2, Rate{1e12}));
  CHECK(testing::run("ideal", graph).makespan() == 1100_ps);
}

TEST_CASE("Parts follow their pattern") {
  GraphBuilder builder(1);
  const PatternId whole = add_two_parts(builder, {});
  add_two_parts(builder, {});
  CHECK_THROWS_AS(builder.add_part(whole, 1, std::vector<LinkLoad>{{0, 1}}), std::logic_error);
  CHECK_THROWS_AS(builder.add_part(99, 1, std::vector<LinkLoad>{{0, 1}}), std::logic_error);
}
