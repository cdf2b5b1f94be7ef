// One rank for its symmetric peers is exact: folded and full give the same step, the same shares of it and
// the same bytes, over small clusters, layouts and schedules, and over whatever is drawn.
#include <fmt/format.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdlib>

#include "sim/lower/lower.hpp"
#include "sim/read/scenario.hpp"
#include "sim/report/fact.hpp"
#include "sim/run/simulate.hpp"
#include "tests/support/drawn.hpp"

using namespace moesim;

namespace {

struct Case {
  const char* cluster;
  int devices, pipeline, tensor, expert, sequences;
  const char* schedule;
  const char* placement;
};

Scenario scenario_of(const Case& c, const char* resolution) {
  const std::string text = fmt::format(
      R"({{"model": {{"extends": "configs/models/tiny.json", "layers": 8}},
           "software": {{"kind": "ideal"}}, "cluster": {{"extends": "configs/clusters/{}", "devices": {}}},
           "batch": {{"sequences": {}, "sequence_length": 512}},
           "parallelism": {{"pipeline": {}, "tensor": {}, "expert": {}, "placement": {}}},
           "schedule": {{"kind": "{}"}},
           "collectives": {{"dispatch": {{"kind": "pairwise", "deduplicate": true}}, "communication_sms": 8,
                            "slowed_by_compute": 1.3}},
           "resolution": "{}"}})",
      c.cluster, c.devices, c.sequences, c.pipeline, c.tensor, c.expert, c.placement, c.schedule, resolution);
  return read_scenario(load_document_text(text, MOESIM_SOURCE "/scenarios/case.json"));
}

Scenario read(const std::string& text, const std::string& resolution) {
  return read_scenario(load_document_text(text, MOESIM_SOURCE "/scenarios/case.json",
                                          {parse_override("resolution=" + resolution)}));
}

Report report_of(const std::string& text, const char* resolution) {
  return simulate(read(text, resolution)).report;
}

/// Sums in another order end a picosecond earlier or later, and communications that then share a link for
/// that long carry it on: a few picoseconds, or one in ten million of a step of many thousand tasks.
std::int64_t distance(Time one, Time other) { return std::abs(one.count - other.count); }
bool are_equal(Time one, Time other) {
  return distance(one, other) <= std::max<std::int64_t>(3, one.count / 10'000'000);
}

/// How far a device that is slower by one in ten million moves the step of a full run. Where one
/// communication leaves another little of a link, a picosecond earlier or later is several at its end, and
/// many of these in a row make a step that hangs on single picoseconds: about one of three thousand that are
/// drawn.
std::int64_t moves_by(testing::Drawn drawn, Time step) {
  std::int64_t furthest = 0;
  for (const int device : {0, 1}) {
    drawn.faults = fmt::format(R"({{"stragglers": [{{"device": {}, "slowdown": 1.0000001}}]}})", device);
    const Time moved = simulate(*testing::read_drawn(drawn)).report.step_time;
    furthest = std::max(furthest, distance(moved, step));
  }
  return furthest;
}

/// 64 devices on a ring, eight pipeline ranks of four pairs that exchange tokens: sends to the next rank
/// cross the links between some pairs more often than those between others.
std::string ring_of_64(const std::string& more) {
  return fmt::format(
      R"({{"model": {{"extends": "configs/models/tiny.json", "layers": 8, "moe": {{"experts": 8}}}},
           "software": {{"kind": "ideal"}},
           "cluster": {{"extends": "configs/clusters/two-gpus.json", "devices": 64, "topology":
             {{"kind": "torus", "link_rate": "70 GB/s", "dimensions": [64]}}}},
           "batch": {{"sequences": 128, "sequence_length": 1024}},
           "parallelism": {{"pipeline": 8, "expert": 2}}, "schedule": {{"kind": "1f1b"}}{}}})",
      more);
}

/// Two nodes whose eight devices share two NICs.
std::string few_nics(const std::string& engine) {
  return fmt::format(
      R"({{"model": "configs/models/tiny.json",
           "software": {{"kind": "ideal"}},
           "cluster": {{"extends": "configs/clusters/h100-64.json", "devices": 16,
             "topology": {{"nics_per_node": 2}}}},
           "batch": {{"sequences": 64, "sequence_length": 1024}},
           "parallelism": {{"tensor": 2, "expert": 2}}, "engine": {{"kind": "{}"}}}})",
      engine);
}

constexpr const char* usual = R"(["tensor", "context", "expert", "data", "pipeline"])";
constexpr const char* pipeline_inside = R"(["tensor", "context", "pipeline", "expert", "data"])";

}  // namespace

TEST_CASE("A folded run equals the full run to the picosecond") {
  const Case c = GENERATE(Case{"h100-64.json", 16, 4, 1, 4, 32, "1f1b", usual},
                          Case{"h100-64.json", 16, 4, 1, 4, 32, "1f1b", pipeline_inside},
                          Case{"h100-64.json", 32, 4, 2, 4, 64, "gpipe", usual},
                          Case{"h100-64.json", 16, 2, 1, 4, 64, "zb_h1", usual},
                          Case{"h800-2048.json", 32, 4, 1, 4, 128, "dualpipe", usual},
                          Case{"h800-2048.json", 16, 2, 1, 4, 64, "dualpipev", pipeline_inside},
                          Case{"h100-64.json", 64, 4, 1, 4, 64, "interleaved", usual});
  CAPTURE(c.cluster, c.devices, c.pipeline, c.tensor, c.expert, c.schedule, c.placement);
  const Report folded = simulate(scenario_of(c, "folded")).report;
  const Report full = simulate(scenario_of(c, "full")).report;
  CHECK(moesim::number("engine.tasks", full) > moesim::number("engine.tasks", folded));
  CHECK(folded.step_time == full.step_time);
  CHECK(folded.makespan == full.makespan);
  CHECK(folded.breakdown.compute == full.breakdown.compute);
  CHECK(folded.breakdown.exposed_communication == full.breakdown.exposed_communication);
  CHECK(folded.breakdown.optimizer == full.breakdown.optimizer);
  for (std::size_t activity = 0; activity < activity_count; ++activity) {
    CAPTURE(activities[activity].name);
    CHECK(static_cast<double>(folded.communications[activity].bytes) ==
          Approx(static_cast<double>(full.communications[activity].bytes)).epsilon(1e-6));
    CHECK(folded.communications[activity].messages == full.communications[activity].messages);
    CHECK(folded.communications[activity].busy == full.communications[activity].busy);
  }
  for (std::size_t i = 0; i < folded.link_classes.size(); ++i) {
    CHECK(folded.link_classes[i].max_utilization ==
          Approx(full.link_classes[i].max_utilization).epsilon(1e-6));
  }
}

TEST_CASE("A folded run equals the full run whatever the fabric, the layout and the engine") {
  int compared = 0;
  for (std::uint64_t number = 0; number < 120; ++number) {
    testing::Drawn drawn = testing::draw(Random(7).stream("folded", number));
    const std::optional<Scenario> scenario = testing::read_drawn(drawn);
    if (!scenario) continue;
    CAPTURE(drawn.text());
    const Report folded = simulate(*scenario).report;
    drawn.resolution = "full";
    const Report full = simulate(*testing::read_drawn(drawn)).report;
    CAPTURE(folded.step_time.count, full.step_time.count);
    const bool is_equal = are_equal(folded.step_time, full.step_time);
    CHECK((is_equal || moves_by(drawn, full.step_time) >= distance(folded.step_time, full.step_time)));
    CHECK(moesim::number("engine.tasks", folded) <= moesim::number("engine.tasks", full));
    for (const LinkClassReport& links : folded.link_classes) CHECK(links.max_utilization <= 1);
    ++compared;
  }
  CHECK(compared > 60);
}

TEST_CASE("Ranks that a ring does not treat alike are not folded") {
  const Report folded = report_of(ring_of_64(""), "folded"), full = report_of(ring_of_64(""), "full");
  CHECK(folded.step_time == full.step_time);
}

TEST_CASE("A straggler on a ring gains nothing by being simulated by itself") {
  // It may gain by sharing: some of its communications move out of the way of others (slower_test.cpp). The
  // full run says how much, and never is a step shorter than without contention.
  const char* straggler = R"(, "faults": {"stragglers": [{"device": 0, "slowdown": 1.01}]})";
  const Time folded = report_of(ring_of_64(straggler), "folded").step_time;
  CHECK(are_equal(folded, report_of(ring_of_64(straggler), "full").step_time));
  const char* ideal = R"(, "engine": {"kind": "ideal"})";
  CHECK(folded > report_of(ring_of_64(ideal), "folded").step_time);
}

TEST_CASE("Groups that share a NIC do not contend without contention") {
  const Report folded = report_of(few_nics("ideal"), "folded"), full = report_of(few_nics("ideal"), "full");
  CHECK(folded.step_time == full.step_time);
  CHECK(moesim::number("engine.tasks", folded) < moesim::number("engine.tasks", full));
  CHECK(report_of(few_nics("fluid"), "folded").step_time > folded.step_time);
}

TEST_CASE("Ranks that a fat tree treats alike stay folded") {
  const auto actors = [](const std::vector<Override>& overrides) {
    return lower(work_of(load_scenario(MOESIM_SOURCE "/scenarios/deepseek-v3-h800.json", overrides)))
        .actor_count;
  };
  CHECK(actors({}) == 16);
  CHECK(actors({parse_override("cluster.topology.taper=2")}) == 16);
  CHECK(actors({parse_override("engine.kind=ideal")}) == 16);
}
