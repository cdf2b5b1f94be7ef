// Faults slow what they touch, by as much as they say, and nothing else: laws over scenarios, exact figures
// on pipelines that can be counted out by hand.
#include <fmt/format.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>

#include "models/base/error.hpp"
#include "models/base/random.hpp"
#include "sim/lower/lower.hpp"
#include "sim/read/scenario.hpp"
#include "sim/report/fact.hpp"
#include "sim/run/simulate.hpp"

using namespace moesim;

namespace {

/// Sixteen devices on two nodes: two pipeline ranks of two expert groups.
Scenario scenario_of(const std::string& more,
                     const std::string& parallelism = R"("pipeline": 2, "expert": 4)", int devices = 16) {
  const std::string text = fmt::format(
      R"({{"model": {{"extends": "configs/models/tiny.json", "layers": 4, "moe": {{"experts": 8}}}},
           "software": {{"kind": "ideal"}},
           "cluster": {{"extends": "configs/clusters/h100-64.json", "devices": {}}},
           "batch": {{"sequences": 64, "sequence_length": 256}},
           "parallelism": {{{}}}{}}})",
      devices, parallelism, more.empty() ? "" : ", " + more);
  return read_scenario(load_document_text(text, MOESIM_SOURCE "/scenarios/case.json"));
}

Simulation run_of(const std::string& more) { return simulate(scenario_of(more)); }

Time step_of(const std::string& more) { return run_of(more).report.step_time; }

std::string straggler(int device, double slowdown, const std::string& from = "0 s") {
  return fmt::format(R"("faults": {{"stragglers": [{{"device": {}, "slowdown": {}, "from": "{}"}}]}})",
                     device, slowdown, from);
}

std::string link(const std::string& one, const std::string& other, double rate_left) {
  return fmt::format(R"("faults": {{"links": [{{"between": ["{}", "{}"], "rate_left": {}}}]}})", one, other,
                     rate_left);
}

/// One rank, two microbatches: forwards of 10 us at 0 and 30 us, backwards of 20 us at 10 and 40 us.
Time pipeline_step(const std::string& from) {
  const std::string text = fmt::format(
      R"({{"pipeline": {{"stages": 1, "microbatches": 2}}, "schedule": {{"kind": "1f1b"}},
           "cost": {{"kind": "fixed", "forward": "10 us", "backward_input": "12 us", "backward_weight": "8 us"}},
           "faults": {{"stragglers": [{{"device": 0, "slowdown": 2, "from": "{}"}}]}}}})",
      from);
  return simulate(read_scenario(load_document_text(text, "pipeline.json"))).report.step_time;
}

Time microseconds(std::int64_t count) { return Time{count * 1'000'000}; }

}  // namespace

TEST_CASE("Faults that change nothing leave the fingerprint alone") {
  const std::string undisturbed = run_of("").report.fingerprint;
  CHECK(run_of(straggler(5, 1)).report.fingerprint == undisturbed);
  CHECK(run_of(link("gpu 3", "node 0 nvswitch", 1)).report.fingerprint == undisturbed);
  CHECK(run_of(R"("faults": {"jitter": {"deviation": 0}})").report.fingerprint == undisturbed);
  CHECK(run_of(R"("faults": {"jitter": {"kind": "exponential", "deviation": 0}, "seed": 9})")
            .report.fingerprint == undisturbed);
  CHECK(run_of(straggler(5, 1.0001)).report.fingerprint != undisturbed);
}

TEST_CASE("A straggler slows what starts at its time or later and not a picosecond earlier") {
  CHECK(pipeline_step("0 s") == microseconds(120));
  CHECK(pipeline_step("30 us") == microseconds(90));
  CHECK(pipeline_step("30.000001 us") == microseconds(80));
  CHECK(pipeline_step("40 us") == microseconds(80));
  CHECK(pipeline_step("41 us") == microseconds(60));
}

TEST_CASE("A slower straggler is never faster, a later one never slower") {
  const std::string ideal = R"("engine": {"kind": "ideal"}, )";
  Time before = step_of(R"("engine": {"kind": "ideal"})");
  for (const double slowdown : {1.01, 1.2, 1.5, 2.0, 4.0}) {
    const Time now = step_of(ideal + straggler(6, slowdown));
    CHECK(now > before);
    before = now;
  }
  before = step_of(ideal + straggler(6, 2));
  for (const char* from : {"0.1 ms", "0.5 ms", "1 ms", "2 ms", "100 s"}) {
    const Time now = step_of(ideal + straggler(6, 2, from));
    CHECK(now <= before);
    before = now;
  }
  CHECK(before == step_of(R"("engine": {"kind": "ideal"})"));
}

TEST_CASE("All devices slower by the same factor take as much longer to compute") {
  std::string all;
  for (int device = 0; device < 16; ++device)
    all += fmt::format(R"({}{{"device": {}, "slowdown": 2}})", device == 0 ? "" : ", ", device);
  const Report slow = run_of(fmt::format(R"("faults": {{"stragglers": [{}]}})", all)).report;
  const Report plain = run_of("").report;
  CHECK(slow.breakdown.compute == plain.breakdown.compute * 2);
  CHECK(slow.breakdown.optimizer == plain.breakdown.optimizer * 2);
}

TEST_CASE("Devices that differ each by itself are as slow as the slowest is expected to be") {
  const std::string each = R"("faults": {"paces": "each", "seed": )";
  double sum = 0;
  constexpr int seeds = 20;
  for (int seed = 1; seed <= seeds; ++seed) {
    const Report report = run_of(each + std::to_string(seed) + "}").report;
    sum += to_seconds(report.step_time) / seeds;
    CHECK(at(report.communications, Activity::dispatch).waiting > Time{});
  }
  const Report slowest = run_of("").report;
  CHECK(sum == Approx(to_seconds(slowest.step_time)).epsilon(0.02));
  CHECK(at(slowest.communications, Activity::dispatch).waiting == Time{});
  CHECK(run_of(each + "1}").report.fingerprint == run_of(each + "1}").report.fingerprint);
  CHECK(run_of(each + "1}").report.fingerprint != run_of(each + "2}").report.fingerprint);
}

TEST_CASE("Who waits at an exchange are the peers of the slow device, for what it is behind") {
  // One expert group of eight, one microbatch: seven wait for what attention takes longer, in each layer.
  const auto waits = [](double slowdown) {
    const Report report = simulate(scenario_of(straggler(3, slowdown) + R"(, "engine": {"kind": "ideal"})",
                                               R"("pipeline": 1, "expert": 8)", 8))
                              .report;
    return to_seconds(at(report.communications, Activity::dispatch).waiting);
  };
  CHECK(waits(1.5) > 0);
  CHECK(waits(2.0) == Approx(2 * waits(1.5)).epsilon(1e-3));
}

TEST_CASE("A straggler unfolds its device and what its groups tell apart, no more") {
  const Scenario one = scenario_of(straggler(5, 2), R"("pipeline": 2, "expert": 4)", 64);
  const Fold fold = fold_of(one, Loading::as_routed);
  // Of 32 positions: the straggler, the rest of its expert group, the rest of its node, and on the other
  // three nodes who holds the same experts as each of the first two.
  CHECK(fold.count < 16);
  CHECK(std::count(fold.representatives.begin(), fold.representatives.end(), fold.of(5)) == 1);
  CHECK(fold_of(scenario_of(straggler(5, 1)), Loading::as_routed).count == 1);
  CHECK(fold_of(scenario_of(R"("faults": {"jitter": {"deviation": 0.1}})"), Loading::as_routed).count == 8);
}

TEST_CASE("Folded equals full to the picosecond for random stragglers and links") {
  RandomStream random = Random(31).stream("faults");
  const char* sizes[] = {
      R"("pipeline": 2, "expert": 4)", R"("pipeline": 1, "expert": 8)",
      R"("pipeline": 4, "tensor": 2, "expert": 4)", R"("expert": 2, "context": 2)",
      R"("pipeline": 2, "expert": 2, "placement": ["tensor", "pipeline", "expert", "data"])"};
  int fewer = 0;
  for (int run = 0; run < 60; ++run) {
    const auto device = static_cast<int>(random.below(16));
    std::string faults = straggler(device, 1 + 2 * random.uniform(), run % 3 == 0 ? "1 ms" : "0 s");
    if (run % 4 == 1)
      faults = link(fmt::format("gpu {}", device), fmt::format("node {} nvswitch", device / 8), 0.3);
    if (run % 4 == 2)
      faults = link(fmt::format("gpu {}", device), fmt::format("rail {} leaf 0", device % 8), 0.3);
    if (run % 8 == 3)
      faults = link(fmt::format("gpu {}", device), fmt::format("rail {} leaf 0", device % 8), 0);
    if (run % 8 == 7) faults = link("rail 2 leaf 0", "spine", 0.01);
    const char* schedule = random.below(2) == 0 ? "1f1b" : "zb_h1";
    const std::string more = fmt::format(R"("schedule": {{"kind": "{}"}}, {})", schedule, faults);
    const char* parallelism = sizes[random.below(5)];
    CAPTURE(parallelism, more);
    const int devices = run % 5 == 0 ? 64 : 16;
    const Report folded = simulate(scenario_of(more, parallelism, devices)).report;
    const Report full =
        simulate(scenario_of(more + R"(, "resolution": "full")", parallelism, devices)).report;
    CHECK(folded.step_time == full.step_time);
    CHECK(folded.breakdown.compute == full.breakdown.compute);
    CHECK(folded.breakdown.optimizer == full.breakdown.optimizer);
    CHECK(folded.communications[static_cast<std::size_t>(Activity::dispatch)].busy ==
          full.communications[static_cast<std::size_t>(Activity::dispatch)].busy);
    CHECK(moesim::number("engine.tasks", folded) <= moesim::number("engine.tasks", full));
    fewer += moesim::number("engine.tasks", folded) < moesim::number("engine.tasks", full) ? 1 : 0;
  }
  CHECK(fewer > 20);
}

TEST_CASE("Every engine slows stragglers alike where nothing is shared") {
  const std::string alone = R"("parallelism": {"pipeline": 1}, )" + straggler(0, 1.7, "0.3 ms");
  const auto text = [&](const char* engine) {
    return fmt::format(
        R"({{"model": "configs/models/tiny.json",
             "software": {{"kind": "ideal"}},
             "cluster": {{"extends": "configs/clusters/h100-64.json", "devices": 8}},
             "batch": {{"sequences": 16, "sequence_length": 256}}, "engine": {{"kind": "{}"}}, {}}})",
        engine, alone);
  };
  const auto run = [&](const char* engine) {
    return simulate(read_scenario(load_document_text(text(engine), MOESIM_SOURCE "/scenarios/case.json")))
        .report;
  };
  CHECK(run("fluid").step_time == run("ideal").step_time);
}

TEST_CASE("Jitter repeats with its seed, differs with another, and exponential jitter only delays") {
  const auto jitter = [](const char* kind, int seed) {
    return fmt::format(R"("faults": {{"seed": {}, "jitter": {{"kind": "{}", "deviation": 0.2}}}})", seed,
                       kind);
  };
  CHECK(run_of(jitter("lognormal", 1)).report.fingerprint ==
        run_of(jitter("lognormal", 1)).report.fingerprint);
  CHECK(run_of(jitter("lognormal", 1)).report.fingerprint !=
        run_of(jitter("lognormal", 2)).report.fingerprint);
  const TaskGraph plain = lower(work_of(scenario_of(R"("resolution": "full")")));
  const TaskGraph delayed = lower(work_of(scenario_of(jitter("exponential", 3))));
  const TaskGraph spread = lower(work_of(scenario_of(jitter("lognormal", 3))));
  REQUIRE(plain.size() == delayed.size());
  double sum = 0, squares = 0, count = 0;
  for (TaskId task = 0; task < plain.size(); ++task) {
    REQUIRE(delayed.durations[task] >= plain.durations[task]);
    if (plain.durations[task] < Time{1000}) continue;
    const double factor = spread.durations[task] / plain.durations[task];
    sum += factor, squares += factor * factor, ++count;
  }
  REQUIRE(count > 500);
  CHECK(sum / count == Approx(1).margin(4 * 0.2 / std::sqrt(count)));
  CHECK(std::sqrt(squares / count - sum / count * sum / count) == Approx(0.2).margin(0.02));
}

TEST_CASE("A link that is down carries nothing, and the same bytes find their way around it") {
  Scenario whole = scenario_of("");
  Scenario broken = scenario_of(link("gpu 1", "rail 1 leaf 0", 0));
  const std::uint32_t gpu = 1, leaf = *broken.fabric().find_vertex("rail 1 leaf 0");
  std::vector<LinkId> route;
  for (DeviceId from = 0; from < 16; ++from) {
    for (DeviceId to = 0; to < 16; ++to) {
      route.clear();
      broken.fabric().route(from, to, route);
      std::uint32_t at = from;
      for (const LinkId id : route) {
        const Link& one = broken.fabric().link(id);
        CHECK(one.from == at);
        CHECK_FALSE((one.from == gpu && one.to == leaf));
        CHECK_FALSE((one.from == leaf && one.to == gpu));
        at = one.to;
      }
      CHECK(at == to);
    }
  }
  const Report before = simulate(whole).report;
  const Report after = simulate(broken).report;
  CHECK(after.communications[static_cast<std::size_t>(Activity::gradient)].bytes ==
        before.communications[static_cast<std::size_t>(Activity::gradient)].bytes);
  CHECK(after.step_time > before.step_time);
}

TEST_CASE("Traffic of equal ways spreads over those that are left") {
  const auto wire = [] {
    const std::string text =
        R"({"name": "ring", "device": "configs/devices/h100.json", "devices": 4,
            "topology": {"kind": "torus", "dimensions": [4], "link_rate": "10 GB/s"}})";
    const Value document = load_document_text(text, MOESIM_SOURCE "/scenarios/case.json");
    Reader reader(document, "");
    return read_cluster(reader);
  };
  Cluster ring = wire();
  CHECK(ring.fabric.ways(0, 2) == 2);
  for (const LinkId id : ring.fabric.links_between(0, 1)) ring.fabric.take_down(id);
  CHECK(ring.fabric.ways(0, 2) == 1);
  CHECK(ring.fabric.ways(1, 3) == 2);  // the links from 1 to 0 are up
  std::vector<LinkId> route;
  ring.fabric.route(0, 1, route);
  CHECK(route.size() == 3);  // the other way round
  for (const LinkId id : ring.fabric.links_between(0, 3)) ring.fabric.take_down(id);
  CHECK_THROWS_WITH(ring.fabric.route(0, 1, route),
                    Catch::StartsWith("the fabric is cut: no way is left from "));
}

TEST_CASE("A link with less of its rate is never faster, and half of every link is twice the time of bytes") {
  Time before = step_of("");
  for (const double left : {0.9, 0.5, 0.1, 0.01}) {
    const Time now = step_of(link("gpu 3", "node 0 nvswitch", left));
    CHECK(now >= before);
    before = now;
  }
  const auto alone = [](const std::string& faults) {
    const std::string text = fmt::format(
        R"({{"cluster": {{"extends": "configs/clusters/h100-64.json", "devices": 8}},
             "communication": {{"operation": "point_to_point", "bytes": "1 GB"}}{}}})",
        faults);
    const Scenario one = read_scenario(load_document_text(text, MOESIM_SOURCE "/scenarios/case.json"));
    const TaskGraph graph = lower(work_of(one));
    return one.engine->run(graph).makespan() - graph.pattern_table[0].latency;
  };
  CHECK(alone(", " + link("gpu 0", "node 0 nvswitch", 0.5)) == alone("") * 2);
}
