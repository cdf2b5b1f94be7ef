// Laws of a run of many steps over which loads drift.
#include <fmt/format.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <numeric>

#include "models/base/error.hpp"
#include "sim/read/scenario.hpp"
#include "sim/report/fact.hpp"
#include "sim/run/compare.hpp"
#include "sim/run/drift.hpp"
#include "sim/run/simulate.hpp"
#include "sim/work/drift_course.hpp"
#include "sim/write/report.hpp"

using namespace moesim;

namespace {

/// Two layers with experts on two nodes of four devices: an expert group of eight, or two of four.
Scenario scenario_of(const std::string& routing, std::int64_t expert = 8, const std::string& more = {}) {
  const std::string text = fmt::format(
      R"({{"model": {{"name": "small", "hidden": 1024, "vocabulary": 1024, "layers": 2,
            "attention": {{"kind": "multi_head", "heads": 8}},
            "moe": {{"experts": 32, "top_k": 2, "width": 1024}}}},
          "software": {{"kind": "ideal"}},
          "cluster": {{"name": "nodes", "device": "configs/devices/h100.json", "devices": 8,
            "topology": {{"kind": "rail_fat_tree", "levels": 2, "devices_per_node": 4,
              "nvlink_rate": "400 GB/s", "nic_rate": "50 GB/s"}}}},
          "batch": {{"sequences": 16, "sequence_length": 2048}},
          "parallelism": {{"expert": {}}},
          "routing": {} {}}})",
      expert, routing, more);
  return read_scenario(load_document_text(text, MOESIM_SOURCE "/drift.json"));
}

/// Routing whose popularity follows Zipf's law, with these keys of "drift" and more keys beside it.
std::string drifting(const std::string& drift, const std::string& more = {}) {
  return fmt::format(
      R"({{"kind": "top_k", "skew": {{"kind": "zipf", "exponent": 0.7}}, "drift": {{{}}} {}}})", drift, more);
}

constexpr const char* balanced = R"(, "placement": "balanced", "redundant": 8)";

DriftReport run(const Scenario& scenario, unsigned jobs = 2) {
  return *simulate(scenario, jobs).report.drift;
}

double mean(const DriftReport& run, auto of) {
  double sum = 0;
  for (const DriftStep& step : run.steps) sum += of(step);
  return sum / static_cast<double>(run.steps.size());
}
double mean_seconds(const DriftReport& run) {
  return mean(run, [](const DriftStep& step) { return to_seconds(step.time); });
}

std::string refused(const std::string& routing, const std::string& more = {}) {
  try {
    static_cast<void>(scenario_of(routing, 8, more));
  } catch (const InputError& error) {
    return error.what();
  }
  return "not refused";
}

}  // namespace

TEST_CASE("Where nothing drifts and nothing balances every step is the step that stands by itself") {
  for (const char* placement : {"", balanced}) {
    const Report alone =
        simulate(scenario_of(fmt::format(
                     R"({{"kind": "top_k", "skew": {{"kind": "zipf", "exponent": 0.7}} {}}})", placement)))
            .report;
    const Report many =
        simulate(scenario_of(drifting(R"("steps": 20, "rebalance": {"every": 5})",
                                      *placement == 0 ? R"(, "placement": "balanced")" : balanced)))
            .report;
    if (*placement != 0) CHECK(many.fingerprint == alone.fingerprint);
    const Report plain = simulate(scenario_of(drifting(R"("steps": 20)", placement))).report;
    CHECK(plain.fingerprint == alone.fingerprint);
    for (const Report* report : {&many, &plain}) {
      REQUIRE(report->drift);
      REQUIRE(report->drift->steps.size() == 20);
      CHECK(report->drift->simulated == 1);
      CHECK(report->drift->bytes == 0);
      for (const DriftStep& step : report->drift->steps) CHECK(step.time == report->step_time);
      CHECK(report->drift->time == report->step_time * 20);
      CHECK(report->drift->tokens_per_second == Approx(report->tokens_per_second()));
    }
  }
}

TEST_CASE("Each step of a run is the step of its own popularity and placement") {
  const Scenario scenario =
      scenario_of(drifting(R"("steps": 9, "half_life": 5, "balancing": {"kind": "bias", "rate": 0.02},
                  "rebalance": {"every": 4, "window": 2})",
                           balanced));
  const DriftReport all = run(scenario);
  DriftCourse course(scenario);
  for (const DriftStep& step : all.steps) {
    Scenario one = scenario;
    course.next().become(one);
    const Report report = simulate_step(one).report;
    CHECK(step.time - step.waiting == report.step_time);
    CHECK(step.rank_load_max_over_mean == report.routing->rank_load_max_over_mean);
    CHECK(step.load_max_over_mean == report.routing->load_max_over_mean);
  }
  CHECK(all.simulated == 9);
}

TEST_CASE("The result does not depend on how many steps run at a time") {
  const Scenario scenario =
      scenario_of(drifting(R"("steps": 40, "half_life": 10, "rebalance": {"every": 7})", balanced));
  const Report one = simulate(scenario, 1).report, many = simulate(scenario, 7).report;
  CHECK(same(read(fact("drift.by_step"), one), read(fact("drift.by_step"), many)));
  CHECK(one.drift->time == many.drift->time);
}

TEST_CASE("Balancing brings the loads of a drifting run together and makes it faster") {
  const std::string drift = R"("steps": 150, "half_life": 400)";
  const DriftReport none = run(scenario_of(drifting(drift)));
  for (const char* kind :
       {R"({"kind": "bias", "rate": 0.01})", R"({"kind": "auxiliary_loss", "rate": 0.3})"}) {
    const DriftReport with = run(scenario_of(drifting(fmt::format(R"({}, "balancing": {})", drift, kind))));
    INFO(kind);
    CHECK(with.steps.front().time == none.steps.front().time);
    CHECK(with.mean_rank_load < 1 + 0.5 * (none.mean_rank_load - 1));
    CHECK(mean_seconds(with) < mean_seconds(none));
  }
}

TEST_CASE("Placement of foreseen loads that costs nothing is on average no slower than none that follows") {
  for (const std::int64_t expert : {8, 4}) {
    const auto of = [&](const std::string& rebalance) {
      return run(scenario_of(drifting(R"("steps": 40, "half_life": 5)" + rebalance, balanced), expert));
    };
    const DriftReport never = of("");
    const DriftReport foreseen = of(R"(, "rebalance": {"every": 1, "window": 0, "hidden": 1})");
    const DriftReport from_the_past = of(R"(, "rebalance": {"every": 1, "hidden": 1})");
    CHECK(never.bytes == 0);
    CHECK(foreseen.bytes > 0);
    CHECK(foreseen.waiting == Time{});
    CHECK(mean_seconds(foreseen) < mean_seconds(never));
    CHECK(foreseen.mean_rank_load < never.mean_rank_load);
    CHECK(foreseen.mean_rank_load <= from_the_past.mean_rank_load);
  }
}

TEST_CASE("What steps wait for is the part of the moving that is not hidden, and it takes what links need") {
  const auto of = [&](const std::string& more) {
    return run(scenario_of(drifting(
        fmt::format(R"("steps": 12, "half_life": 5, "rebalance": {{"every": 3 {}}})", more), balanced)));
  };
  const DriftReport open = of(""), half = of(R"(, "hidden": 0.5)"), weights = of(R"(, "carries": "weights")");
  CHECK(open.rebalances == 3);
  CHECK(open.waiting == open.moving);
  CHECK(half.moving == open.moving);
  CHECK(to_seconds(half.waiting) == Approx(to_seconds(open.moving) / 2));
  CHECK(to_seconds(open.time) == Approx(to_seconds(half.time + half.waiting)));
  // Parameters of 2 bytes beside states of 12, on a single data-parallel rank.
  CHECK(weights.bytes * 7 == open.bytes);
  CHECK(weights.moving < open.moving);
  const double one_device = static_cast<double>(open.bytes) / 8;
  CHECK(to_seconds(open.moving) > one_device / 450e9);
}

TEST_CASE("Keeping places moves fewer bytes for the same loads") {
  const auto of = [&](const std::string& more) {
    return run(scenario_of(drifting(
        fmt::format(R"("steps": 12, "half_life": 20, "rebalance": {{"every": 3 {}}})", more), balanced)));
  };
  const DriftReport kept = of(""), as_balanced = of(R"(, "keeps_places": false)");
  CHECK(kept.bytes < as_balanced.bytes);
  CHECK(kept.mean_rank_load == Approx(as_balanced.mean_rank_load).epsilon(0.02));
}

TEST_CASE("Moved bytes are those of the experts that move, on every device that holds them") {
  // 3 x 1024 x 1024 parameters in bf16; fp32 master and two moments, shared by the expert groups.
  constexpr std::int64_t parameters = 3 * 1024 * 1024;
  for (const std::int64_t expert : {8, 4}) {
    const std::int64_t groups = 8 / expert;
    const Scenario scenario = scenario_of(
        drifting(R"("steps": 5, "half_life": 5, "rebalance": {"every": 2})", R"(, "placement": "balanced")"),
        expert);
    CHECK(bytes_of_expert(scenario, 1, Carried::weights).count == 2 * parameters);
    CHECK(bytes_of_expert(scenario, 1, Carried::states).count == (2 + 12 / groups) * parameters);
    // Experts 0 of rank 0 and last of the last rank change places, in one of two layers.
    Placements before{place_in_order(32, expert), place_in_order(32, expert)};
    Placements after = before;
    std::swap(after[1].expert_of_slot.front(), after[1].expert_of_slot.back());
    const std::vector<Flow> flows = moving_flows(scenario, before, after);
    REQUIRE(std::ssize(flows) == 2 * groups);
    for (const Flow& flow : flows) CHECK(flow.bytes == static_cast<double>((2 + 12 / groups) * parameters));
    CHECK(flows.front().from == 0);
    CHECK(flows.front().to == static_cast<DeviceId>(expert - 1));
  }
}

TEST_CASE("Experts that are drawn, and jitter, are drawn anew in each step") {
  const DriftReport drawn = run(scenario_of(
      R"({"kind": "gshard", "padded": false, "skew": {"kind": "zipf", "exponent": 0.3}, "drift": {"steps": 4}})"));
  CHECK(drawn.simulated == 4);
  CHECK(drawn.steps[1].time != drawn.steps[2].time);
  const DriftReport jitter =
      run(scenario_of(drifting(R"("steps": 4)"), 8, R"(, "faults": {"jitter": {"deviation": 0.05}})"));
  CHECK(jitter.simulated == 4);
  CHECK(jitter.steps[1].time != jitter.steps[2].time);
  CHECK(jitter.steps[1].rank_load_max_over_mean == jitter.steps[2].rank_load_max_over_mean);
}

TEST_CASE("Runs of many steps are compared by all of them, not by the first") {
  const Comparison comparison = compare({.path = MOESIM_SOURCE "/scenarios/drift.json",
                                         .overrides = {parse_override("routing.drift.steps=5"),
                                                       parse_override("routing.drift.rebalance.every=2")},
                                         .keys = {parse_varied_key("routing.drift.rebalance.hidden=0,1")},
                                         .jobs = 2});
  REQUIRE(comparison.runs.size() == 2);
  CHECK(comparison.runs[0].report->step_time == comparison.runs[1].report->step_time);
  CHECK(comparison.best == 1);
  CHECK(comparison.runs[0].relative ==
        Approx(comparison.runs[0].report->drift->time / comparison.runs[1].report->drift->time));
  CHECK(write(tell(comparison), "text").find("tokens/s of the run") != std::string::npos);
}

TEST_CASE("Steps are a line each of a table, where there are several") {
  const auto written = [](const Scenario& scenario) {
    const Simulation done = simulate(scenario);
    return write(tell({done.work, done.graph, done.timeline, done.report}, [] { return Value{}; }), "steps");
  };
  const std::string table = written(scenario_of(drifting(R"("steps": 4, "half_life": 2)")));
  CHECK(std::count(table.begin(), table.end(), '\n') == 5);
  CHECK(table.starts_with("step,step_time_s,tokens_per_s,"));
  CHECK(table.find("\n3,") != std::string::npos);
  CHECK_THROWS_AS(written(scenario_of(R"({"kind": "top_k"})")), InputError);
}

TEST_CASE("What does not go with a drift is refused with one reason each") {
  using Catch::Contains;
  CHECK_THAT(refused(R"({"kind": "top_k", "drift": {}})"), Contains("all experts are equally popular"));
  CHECK_THAT(
      refused(R"({"kind": "top_k", "skew": {"kind": "dirichlet", "varies": "microbatch"}, "drift": {}})"),
      Contains("another for each microbatch"));
  CHECK_THAT(refused(drifting(R"("balancing": {"kind": "bias"})", R"(, "balance": 0.5)")),
             Contains("routing.balance: is 0.5"));
  CHECK_THAT(refused(drifting("", R"(, "capacity_factor": 1, "padded": true)")),
             Contains("all ranks have the same rows"));
  CHECK_THAT(refused(drifting(""), R"(, "repeat": 3)"), Contains("repeat: is 3"));
  CHECK_THAT(refused(drifting(R"("rebalance": {"every": 10})")), Contains("routing.placement is in_order"));
  CHECK_THAT(refused(drifting(R"("steps": 10, "rebalance": {"every": 10})", balanced)),
             Contains("expected less than the 10 steps"));
  CHECK_THAT(refused(drifting(R"("rebalance": {"every": 10})", balanced),
                     R"(, "gradient_sync": {"kind": "parameter_server"})"),
             Contains("a parameter server keeps them"));
  CHECK_THAT(refused(R"({"kind": "top_k", "placement": "by_topic"})"),
             Contains("without routing.coactivation"));
}

TEST_CASE("Topics on one node bring less traffic to other nodes than topics that lie anywhere") {
  const auto step = [&](const std::string& routing) {
    const std::string text =
        R"(, "collectives": {"dispatch": {"kind": "hierarchical"}, "combine": {"kind": "hierarchical"}})";
    return simulate(scenario_of(routing, 8, text)).report;
  };
  const auto crossing = [&](const Report& report) {
    double bytes = 0;
    for (const LinkClassReport& link : report.link_classes)
      if (link.link_class == LinkClass::infiniband) bytes = static_cast<double>(link.bytes);
    return bytes;
  };
  for (const char* skew : {"", R"(, "skew": {"kind": "zipf", "exponent": 0.5})"}) {
    const auto of = [&](const std::string& more) {
      return step(fmt::format(R"({{"kind": "top_k" {} {}}})", skew, more));
    };
    const Report free = of("");
    const Report together = of(R"(, "coactivation": {"topics": 2, "factor": 20})");
    const Report apart = of(R"(, "coactivation": {"topics": 2, "factor": 20, "order": "interleaved"})");
    const Report placed = of(
        R"(, "placement": "by_topic", "coactivation": {"topics": 2, "factor": 20, "order": "interleaved"})");
    CHECK(crossing(together) < crossing(free));
    CHECK(crossing(placed) < crossing(apart));
    CHECK(together.step_time < free.step_time);
  }
}
