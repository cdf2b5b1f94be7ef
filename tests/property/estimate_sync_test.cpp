// The estimate of a step under PyTorch's ways of synchronisation, against the engine.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>

#include "sim/estimate/estimate.hpp"
#include "sim/run/simulate.hpp"
#include "tests/support/gradients.hpp"

using namespace moesim;
using namespace moesim::testing;

namespace {

struct Estimated {
  double seconds, memory;
};

Estimated estimate_of(const SyncCase& c) {
  const Scenario scenario = scenario_of(c);
  CostTables tables(scenario_of(c));
  const Division division{scenario.layout.sizes(), scenario.layout.placement()};
  const DivisionGroups groups = tables.groups(division);
  const MicrobatchCost cost =
      tables.cost(division, groups, scenario.batch.microbatch, {{}, scenario.recompute}, 0);
  const PipelineProfile profile =
      profile_of(*scenario.schedule, scenario.layout.sizes().pipeline, scenario.microbatches());
  PipelineEstimate estimate(tables, cost, profile,
                            stage_costs(cost, tables.kind_of_layer(), scenario.layers_per_stage));
  const UpdateSeconds each = update_seconds(tables.scenario());
  const SyncPlan sync{scenario.gradient_sync, groups, each};
  return {estimate.seconds(sync), estimate.memory(sync)};
}

constexpr const char* syncs[] = {R"({"kind": "ddp"})",
                                 R"({"kind": "ddp", "views": true})",
                                 R"({"kind": "fsdp2"})",
                                 R"({"kind": "fsdp2", "shards": "bf16", "shard_ranks": 8})",
                                 R"({"kind": "fsdp2", "reshard_after_forward": false})",
                                 R"({"kind": "fsdp2", "reshard_after_forward": false,
                                     "reshard_after_backward": false, "reduce": "last"})"};

}  // namespace

TEST_CASE(
    "The estimate of parameters that come back beside first passes is near what the engine makes of them") {
  const std::string kind = GENERATE("zero1", "zero2");
  const int pipeline = GENERATE(1, 4);
  const std::string schedule =
      pipeline == 1 ? R"({"kind": "1f1b"})" : GENERATE(R"({"kind": "1f1b"})", R"({"kind": "interleaved"})");
  CAPTURE(kind, pipeline, schedule);
  const SyncCase c{.sync = R"({"kind": ")" + kind + R"(", "overlap": true, "overlap_parameters": true})",
                   .pipeline = pipeline,
                   .schedule = schedule};
  const Report report = simulate(scenario_of(c)).report;
  CHECK(estimate_of(c).seconds == Approx(to_seconds(report.step_time)).epsilon(kind == "zero1" ? 0.05 : 0.1));
}

TEST_CASE("The estimate of DDP and FSDP2 is near what the engine makes of their tasks, copies included") {
  const std::string sync = GENERATE(from_range(std::begin(syncs), std::end(syncs)));
  const int pipeline = GENERATE(1, 2);
  const int expert = GENERATE(1, 4);
  CAPTURE(sync, pipeline, expert);
  const SyncCase c{.sync = sync, .pipeline = pipeline, .expert = expert};
  const Report report = simulate(scenario_of(c)).report;
  const Estimated estimated = estimate_of(c);
  // Units are gathered and reduced one by one; the estimate adds them up over a pass, as with zero3.
  const double error = estimated.seconds / to_seconds(report.step_time) - 1;
  CHECK(std::abs(error) < (scenario_of(c).gradient_sync.has_units() ? 0.22 : 0.1));
  CHECK(estimated.memory <= static_cast<double>(report.memory_peak().count));
  CHECK(estimated.memory > 0.98 * static_cast<double>(report.memory_peak().count));
}
