#include "sim/run/repeat.hpp"
#include "sim/read/scenario.hpp"

#include <fmt/format.h>

#include <catch2/catch.hpp>

using namespace moesim;

namespace {

/// Six runs whose routing and compute differ by their seeds.
CompletedRun six_runs(unsigned jobs) {
  return run(
      {.path = MOESIM_SOURCE "/scenarios/jitter.json",
       .overrides = {parse_override("repeat=6"), parse_override("batch.sequences=64"),
                     parse_override("routing.kind=top_k"), parse_override("routing.skew.kind=dirichlet")},
       .jobs = jobs});
}

Report run_of_seed(int seed) {
  const std::vector<Override> overrides{
      parse_override("batch.sequences=64"), parse_override("routing.kind=top_k"),
      parse_override("routing.skew.kind=dirichlet"), parse_override(fmt::format("routing.seed={}", seed)),
      parse_override(fmt::format("faults.seed={}", seed))};
  return simulate(load_scenario(MOESIM_SOURCE "/scenarios/jitter.json", overrides)).report;
}

}  // namespace

TEST_CASE("Repeated runs are those of the seeds that follow, whatever the number of jobs") {
  const Report one = six_runs(1).simulation.report;
  const Report many = six_runs(5).simulation.report;
  REQUIRE(one.repeat);
  CHECK(one.fingerprint == run_of_seed(1).fingerprint);
  CHECK(many.fingerprint == one.fingerprint);
  double least = 1e9, most = 0;
  for (int seed = 1; seed <= 6; ++seed) {
    const double step = to_seconds(run_of_seed(seed).step_time);
    least = std::min(least, step), most = std::max(most, step);
  }
  for (const Report& report : {one, many}) {
    CHECK(report.repeat->step_time.least == least);
    CHECK(report.repeat->step_time.most == most);
    CHECK(report.repeat->step_time.median == one.repeat->step_time.median);
  }
}

TEST_CASE("What imbalance costs is asked for once, not for every run of a repeat") {
  const std::vector<Override> overrides{parse_override("routing.kind=top_k"),
                                        parse_override("routing.skew.kind=zipf")};
  const Scenario scenario = load_scenario(MOESIM_SOURCE "/scenarios/mixtral-8x7b-h100.json", overrides);
  const Report step = simulate_step(scenario).report;
  CHECK_FALSE(step.routing->imbalance_cost);
  CHECK(simulate(scenario).report.routing->imbalance_cost);
  CHECK(step.fingerprint == simulate(scenario).report.fingerprint);
}
