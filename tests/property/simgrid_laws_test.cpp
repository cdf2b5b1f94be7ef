// Two engines that share no line of arithmetic come to the same times.
#include <catch2/catch.hpp>

#include <algorithm>

#include "models/base/error.hpp"
#include "sim/lower/lower.hpp"
#include "sim/read/scenario.hpp"
#include "sim/run/simulate.hpp"
#include "tests/support/graphs.hpp"
#include "tests/support/program.hpp"

using namespace moesim;
using namespace moesim::literals;
using testing::build;
using testing::in_flows;
using testing::random_sketch;
using testing::Sketch;

namespace {

Sketch sketch_of(std::uint64_t number) {
  RandomStream random = Random(1).stream("engine laws", number);
  return random_sketch(random, static_cast<std::uint32_t>(2 + random.below(60)));
}

/// The largest difference between starts and ends of two timelines.
Time distance(const Timeline& a, const Timeline& b) {
  Time largest;
  for (std::size_t i = 0; i < a.ends.size(); ++i) {
    largest = std::max({largest, a.ends[i] - b.ends[i], b.ends[i] - a.ends[i], a.starts[i] - b.starts[i],
                        b.starts[i] - a.starts[i]});
  }
  return largest;
}

Scenario scenario_of(const std::string& path, const std::vector<std::string>& sets) {
  std::vector<Override> overrides;
  for (const std::string& set : sets) overrides.push_back(parse_override(set));
  return load_scenario(MOESIM_SOURCE "/scenarios/" + path, overrides);
}

struct Case {
  std::string path;
  std::vector<std::string> sets;
  std::vector<std::string> flows = {"coflow", "port", "pair"};
};

/// Steps with exchanges beside sends, slowed compute, and data-parallel sums; small enough for single flows.
std::vector<Case> cases() {
  return {{"two-gpus.json", {}},
          {"two-gpus.json", {"resolution=full"}},
          {"mixtral-8x7b-h100.json", {"batch.sequences=128"}},
          {"dualpipe-8x20.json", {}},
          {"mixtral-8x7b-h100.json", {"batch.sequences=128", "parallelism.expert=4", "resolution=full"}},
          {"deepseek-v3-h800.json", {"batch.sequences=4096"}, {"coflow"}}};
}

}  // namespace

TEST_CASE("Whole coflows: fluid and SimGrid agree on every task of random graphs within 0.1 % of the run") {
  if (!testing::has_engine("simgrid")) return;
  for (std::uint64_t number = 0; number < 150; ++number) {
    const TaskGraph graph = build(sketch_of(number));
    const Timeline fluid = testing::run("fluid", graph);
    const Timeline simgrid = testing::run("simgrid", graph);
    check(graph, simgrid);
    INFO("graph " << number << " of " << graph.size() << " tasks");
    CHECK(distance(fluid, simgrid).count <=
          fluid.makespan().count / 1000 + static_cast<std::int64_t>(graph.size()));
  }
}

TEST_CASE("Single flows: fluid and SimGrid agree to picoseconds, and neither is ahead of ideal") {
  if (!testing::has_engine("simgrid")) return;
  std::size_t later = 0;
  for (std::uint64_t number = 0; number < 150; ++number) {
    RandomStream random = Random(4).stream("flows", number);
    const Sketch sketch = in_flows(sketch_of(number), random);
    const TaskGraph graph = build(sketch);
    const Timeline ideal = testing::run("ideal", graph);
    const Timeline fluid = testing::run("fluid", graph);
    const Timeline simgrid = testing::run("simgrid", graph);
    check(graph, fluid);
    check(graph, simgrid);
    INFO("graph " << number << " of " << graph.size() << " tasks");
    CHECK(distance(fluid, simgrid).count <= 2 * static_cast<std::int64_t>(graph.size()));
    for (TaskId task = 0; task < graph.size(); ++task) {
      CHECK(ideal.ends[task] <= fluid.ends[task] + Time{1});
      later += ideal.ends[task] < fluid.ends[task] ? 1 : 0;
    }
  }
  CHECK(later > 500);
}

TEST_CASE(
    "Scenarios take the same step on fluid and SimGrid, whatever advances at one rate, never less than "
    "ideal") {
  if (!testing::has_engine("simgrid")) return;
  for (const Case& c : cases()) {
    std::vector<std::string> sets = c.sets;
    sets.emplace_back("engine.kind=ideal");
    const Time ideal = simulate(scenario_of(c.path, sets)).timeline.makespan();
    for (const std::string& flows : c.flows) {
      sets.back() = "engine.flows=" + flows;
      std::vector<std::string> reference = sets;
      reference.emplace_back("engine.kind=simgrid");
      const Time fluid = simulate(scenario_of(c.path, sets)).timeline.makespan();
      const Time simgrid = simulate(scenario_of(c.path, reference)).timeline.makespan();
      INFO(c.path << " " << flows << ": ideal " << ideal.count << ", fluid " << fluid.count << ", simgrid "
                  << simgrid.count);
      CHECK(std::abs((fluid - simgrid).count) <= fluid.count / 1000);
      CHECK(ideal <= fluid + Time{1000});
    }
  }
}

TEST_CASE(
    "Every scenario of the project up to middle size takes the same step on fluid and SimGrid within 0.1 %") {
  if (!testing::has_engine("simgrid")) return;
  constexpr std::size_t middle = 100'000;  // tasks
  int compared = 0;
  for (const std::string& path : testing::project_files("scenarios", ".json")) {
    const std::string file = path.substr(std::string("scenarios/").size());
    const Scenario scenario = scenario_of(file, {});
    const TaskGraph graph = lower(work_of(scenario));
    if (graph.size() > middle) continue;
    const Time fluid = scenario.engine->run(graph).makespan();
    const Time simgrid = testing::run("simgrid", graph).makespan();
    INFO(file << ": fluid " << fluid.count << ", simgrid " << simgrid.count);
    CHECK(std::abs((fluid - simgrid).count) <= fluid.count / 1000);
    ++compared;
  }
  CHECK(compared > 30);
}

TEST_CASE("SimGrid runs any number of times in a process, with the same fingerprint each time") {
  if (!testing::has_engine("simgrid")) return;
  const TaskGraph graph = build(sketch_of(7));
  const std::string first = fingerprint(testing::run("simgrid", graph));
  for (int i = 0; i < 5; ++i) {
    testing::run("simgrid", build(sketch_of(8)));
    CHECK(fingerprint(testing::run("simgrid", graph)) == first);
  }
}

TEST_CASE("Errors of a run on SimGrid come back from its process") {
  if (!testing::has_engine("simgrid")) return;
  GraphBuilder builder(1);
  for (int i = 0; i < 3; ++i) builder.add_compute(0, 1_ps, 1, {.activity = Activity::attention});
  builder.add_edge(1, 2);
  TaskGraph graph = std::move(builder).finish({});
  ++graph.predecessor_counts[1];
  CHECK_THROWS_WITH(
      testing::run("simgrid", graph),
      "2 of 3 tasks never ran: (task 1: attention) waits for 1, (task 2: attention) waits for 1");
  GraphBuilder slow(1);
  slow.add_coflow(slow.add_pattern({.flow_bytes = 1e9}, std::vector<LinkLoad>{{0, 1e9}}, {}), {});
  const Rate rate{1e-3};
  CHECK_THROWS_AS(testing::run("simgrid", std::move(slow).finish({&rate, 1})), RunError);
}

TEST_CASE("Where the module of SimGrid is missing, asking for the engine ends with code 3 and one sentence") {
  const testing::Outcome outcome =
      testing::run_shell("folder=$(mktemp -d) && cp \"" MOESIM_PROGRAM
                         "\" \"$folder/moesim\" && "
                         "\"$folder/moesim\" run scenarios/two-gpus.json --engine simgrid; code=$?; rm -r "
                         "\"$folder\"; exit $code");
  CHECK(outcome.code == 3);
  CHECK(outcome.out.empty());
  CHECK(outcome.err ==
        "error: this build has no engine 'simgrid': install libsimgrid-dev and build moesim again\n");
}
