// A step that is faster than its devices can be has lost work, and is no result.
#include <catch2/catch.hpp>

#include "models/base/error.hpp"
#include "sim/lower/lower.hpp"
#include "sim/read/scenario.hpp"
#include "sim/report/report.hpp"
#include "sim/scenario/scenario.hpp"

using namespace moesim;

namespace {

/// Summarizes a run whose every time is so many times shorter.
Report sped_up(std::int64_t factor, const std::vector<Override>& overrides) {
  const Scenario scenario = load_scenario("scenarios/two-gpus.json", overrides);
  const TaskGraph graph = lower(work_of(scenario));
  Timeline timeline = scenario.engine->run(graph);
  for (std::vector<Time>* times : {&timeline.starts, &timeline.ends}) {
    for (Time& time : *times) time = time / factor;
  }
  return summarize(work_of(scenario), graph, timeline, critical_path(graph, timeline));
}

}  // namespace

TEST_CASE("An MFU above 1 in bf16 is an error, as long as all tokens are computed") {
  const double mfu = sped_up(1, {}).mfu();
  REQUIRE(2 * mfu < 1);
  CHECK(sped_up(2, {}).mfu() == Approx(2 * mfu).epsilon(1e-6));
  CHECK_THROWS_AS(sped_up(100, {}), RunError);
  CHECK_THROWS_WITH(sped_up(100, {}),
                    Catch::Contains("of the device's peak in bf16") && Catch::Contains("an error of moesim"));
  CHECK_NOTHROW(sped_up(100, {parse_override("precision.gemm=fp8")}));
  // Dropped choices count as model FLOPs, and are not computed.
  CHECK_NOTHROW(sped_up(100, {parse_override("model.moe.top_k=1"), parse_override("routing.kind=switch"),
                              parse_override("routing.capacity_factor=0.5")}));
}
