// What is slower never makes a step shorter: exactly where nothing contends, and within what contention costs
// where links are shared.
//
// Order on a stream is edges, so a step is a fixed network of tasks, and without contention its length is the
// longest path: it only grows with each task. Sharing breaks that. A task that ends later keeps its
// communication off a link that another needs, which may be the one that the step waits for: an anomaly, as
// those of list scheduling (Graham, Bounds on multiprocessing timing anomalies, SIAM J. Appl. Math. 17(2),
// 1969). It is bounded by what contention costs: with c = fluid / ideal of the faster run,
//
//   fluid(slower) >= ideal(slower) >= ideal(faster) = fluid(faster) / c.
#include <catch2/catch.hpp>
#include <optional>

#include "sim/run/simulate.hpp"
#include "tests/support/drawn.hpp"
#include "tests/support/graphs.hpp"

using namespace moesim;
using testing::Drawn;

namespace {

/// The drawn scenario with something slower.
Drawn slower(Drawn drawn, RandomStream& random) {
  const auto replace = [&](std::string& text, const std::string& from, const std::string& to) {
    const std::size_t place = text.find(from);
    if (place != std::string::npos) text.replace(place, from.size(), to);
    return place != std::string::npos;
  };
  const std::string device = std::to_string(random.below(static_cast<std::uint64_t>(drawn.devices)));
  switch (random.below(3)) {
    case 0:
      if (replace(drawn.topology, R"_("nic_rate": "50 GB/s")_", R"_("nic_rate": "37 GB/s")_")) return drawn;
      if (replace(drawn.topology, R"_("link_rate": "70 GB/s")_", R"_("link_rate": "51 GB/s")_")) return drawn;
      [[fallthrough]];
    case 1:
      if (replace(drawn.collectives, R"("kind": "pairwise")", R"("kind": "pairwise", "startup": "30 us")"))
        return drawn;
      [[fallthrough]];
    default:
      drawn.faults = R"({"stragglers": [{"device": )" + device + R"(, "slowdown": 1.3}]})";
      return drawn;
  }
}

std::optional<Time> step_of(Drawn drawn, const char* engine) {
  drawn.engine = std::string(R"({"kind": ")") + engine + R"("})";
  const std::optional<Scenario> scenario = testing::read_drawn(drawn);
  if (!scenario) return std::nullopt;
  return simulate_step(*scenario).report.step_time;
}

/// Rounding of as many tasks as a step has one after another.
Time rounding(Time step) { return step + Time{1000}; }

}  // namespace

TEST_CASE("What is slower never makes a step shorter without contention, nor shorter than that with it") {
  int compared = 0;
  for (std::uint64_t number = 0; number < 60; ++number) {
    RandomStream random = Random(3).stream("slower", number);
    const Drawn fast = testing::draw(Random(3).stream("drawn", number));
    const Drawn slow = slower(fast, random);
    CAPTURE(slow.text());
    const std::optional<Time> ideal_fast = step_of(fast, "ideal");
    if (!ideal_fast) continue;
    const Time ideal_slow = *step_of(slow, "ideal");
    const Time fluid_fast = *step_of(fast, "fluid"), fluid_slow = *step_of(slow, "fluid");
    CHECK(ideal_slow >= *ideal_fast);
    CHECK(rounding(fluid_fast) >= *ideal_fast);
    CHECK(rounding(fluid_slow) >= ideal_slow);
    ++compared;
  }
  CHECK(compared > 25);
}

TEST_CASE("A slower task can shorten a step where it clears a link for the one that all wait for") {
  // Two communications of 1 us alone share a link. One leads to 10 us of compute, the other follows a task of
  // `before` us. Side by side each takes 2 us; if the other comes 1 us later, it is out of the way.
  const auto step = [](std::int64_t before) {
    testing::Sketch sketch;
    sketch.actors = 2;
    sketch.links = {Rate{1e9}};
    const testing::TrafficSketch traffic{
        .pattern = {.flow_bytes = 1000}, .loads = {{0, 1000}}, .members = {}, .parts = {}};
    sketch.patterns = {traffic, traffic};
    sketch.tasks = {
        {.kind = TaskKind::coflow, .duration = {}, .pattern = 0, .after = {}},
        {.kind = TaskKind::compute, .actor = 0, .duration = Time{10'000'000}, .after = {0}},
        {.kind = TaskKind::compute, .actor = 1, .duration = Time{before * 1'000'000}, .after = {}},
        {.kind = TaskKind::coflow, .duration = {}, .pattern = 1, .after = {2}}};
    return testing::run("fluid", testing::build(sketch)).makespan();
  };
  CHECK(step(0) == Time{12'000'000});
  CHECK(step(1) == Time{11'000'000});
}
