// Laws at the largest times: what a report says adds up, or the run is refused.
#include <fmt/format.h>

#include <catch2/catch.hpp>
#include <cmath>

#include "models/base/error.hpp"
#include "models/base/random.hpp"
#include "sim/read/scenario.hpp"
#include "sim/run/simulate.hpp"

using namespace moesim;

namespace {

struct LongPipeline {
  std::int64_t stages, microbatches;
  std::string schedule, pass;
};

Report report_of(const LongPipeline& of) {
  const std::string text = fmt::format(
      R"({{"pipeline": {{"stages": {}, "microbatches": {}}}, "schedule": {{"kind": "{}"}},
          "cost": {{"kind": "fixed", "forward": "{}", "backward_input": "{}", "backward_weight": "{}"}}}})",
      of.stages, of.microbatches, of.schedule, of.pass, of.pass, of.pass);
  return simulate(read_scenario(load_document_text(text, "long.json"))).report;
}

void check_adds_up(const Report& report) {
  const Breakdown& parts = report.breakdown;
  CHECK(parts.compute > Time{});
  CHECK(parts.bubble >= Time{});
  CHECK(parts.exposed_communication >= Time{});
  CHECK(parts.optimizer >= Time{});
  CHECK(parts.compute + parts.bubble + parts.exposed_communication + parts.optimizer == report.step_time);
  CHECK(report.bubble_fraction >= 0);
  CHECK(report.bubble_fraction <= 1);
  const Time passes = report.passes.forward + report.passes.backward + report.passes.backward_weight +
                      report.passes.overlapped;
  CHECK(passes >= Time{});
  CHECK(passes <= report.step_time);
  for (const PipelineRankReport& stage : report.pipeline_ranks) {
    CHECK(stage.busy >= Time{});
    CHECK(stage.busy <= stage.span);
    CHECK(stage.span <= report.step_time);
  }
}

}  // namespace

TEST_CASE("Passes of hours on many ranks, together beyond the longest time, come to means that add up") {
  const Report report = report_of({16, 64, "1f1b", "3 h"});
  CHECK(report.breakdown.compute == from_seconds(64 * 9 * 3600.0));
  CHECK(report.step_time == from_seconds((64 + 15) * 9 * 3600.0));
  check_adds_up(report);
}

TEST_CASE("However long passes take, the parts of a step add up or the run is refused") {
  RandomStream random = Random(1).stream("passes");
  int run = 0, refused = 0;
  for (int i = 0; i < 60; ++i) {
    const std::int64_t stages = 2 * static_cast<std::int64_t>(1 + random.below(8));
    const char* const kinds[] = {"gpipe", "1f1b", "zb_h1", "dualpipe", "sequential"};
    const LongPipeline pipeline{
        .stages = stages,
        .microbatches = stages * 2 * static_cast<std::int64_t>(1 + random.below(4)),
        .schedule = kinds[random.below(5)],
        .pass = fmt::format("{} s", std::ceil(std::pow(10.0, 3 + 3.5 * random.uniform())))};
    CAPTURE(pipeline.stages, pipeline.microbatches, pipeline.schedule, pipeline.pass);
    try {
      check_adds_up(report_of(pipeline));
      ++run;
    } catch (const RunError&) {
      ++refused;
    }
  }
  CHECK(run > 20);
  CHECK(refused > 5);
}
