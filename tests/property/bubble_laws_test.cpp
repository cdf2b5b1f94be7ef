// What a report calls bubble, over random pipelines of every schedule.
#include <fmt/format.h>

#include <catch2/catch.hpp>

#include "models/base/random.hpp"
#include "sim/read/scenario.hpp"
#include "sim/run/simulate.hpp"

using namespace moesim;

namespace {

/// A pipeline of given durations, in ms.
Scenario pipeline(std::string_view schedule, std::int64_t ranks, std::int64_t microbatches,
                  std::array<std::int64_t, 3> durations) {
  return read_scenario(load_document_text(
      fmt::format(R"({{"pipeline": {{"stages": {}, "microbatches": {}}}, "schedule": {{"kind": "{}"}},
        "cost": {{"kind": "fixed", "forward": "{} ms", "backward_input": "{} ms", "backward_weight": "{} ms"}}}})",
                  ranks, microbatches, schedule, durations[0], durations[1], durations[2]),
      "pipeline.json"));
}

double share_of(const PipelineRankReport& stage) { return stage.bubble / stage.span; }

}  // namespace

TEST_CASE("The slowest rank's bubble is at most the most, and the mean lies between least and most") {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    RandomStream random = Random(seed).stream("bubble");
    const auto draw = [&](std::int64_t most) {
      return 1 + static_cast<std::int64_t>(random.uniform() * static_cast<double>(most));
    };
    const std::int64_t ranks = 2 * draw(4);
    const std::int64_t microbatches = 2 * ranks * draw(3);
    const std::array<std::int64_t, 3> durations{2 * draw(9), 2 * draw(9), 2 * draw(9)};
    for (const auto* entry : schedules()) {
      CAPTURE(seed, entry->name, ranks, microbatches);
      const Scenario scenario = pipeline(entry->name, ranks, microbatches, durations);
      const Report report = simulate(scenario).report;
      double sum = 0, least = 1, most = 0;
      for (const PipelineRankReport& stage : report.pipeline_ranks) {
        sum += share_of(stage);
        least = std::min(least, share_of(stage));
        most = std::max(most, share_of(stage));
      }
      CHECK(report.bubble_fraction <= report.bubble_most);
      CHECK(least <= report.bubble_fraction);
      CHECK(report.bubble_most == Approx(most).margin(1e-12));
      CHECK(report.bubble_mean == Approx(sum / static_cast<double>(ranks)).margin(1e-12));
      CHECK(least <= report.bubble_mean + 1e-12);
      // Nothing but passes happens in such a step: what is no pass is bubble. Ranks that flow into the next
      // step wait less than that, by the slope of the step.
      const double idle = report.breakdown.bubble / report.step_time;
      if (work_of(scenario).order.flows_into_next_step) {
        CHECK(report.bubble_mean <= idle + 1e-12);
      } else {
        CHECK(report.bubble_mean == Approx(idle).margin(1e-9));
      }
    }
  }
}

// Zero bubble, arXiv 2401.10241, section 6; the authors' README: the bubble rate of ZB-V is 0 for F = B = W.
TEST_CASE("A report of ZB-V has no bubble when F = B = W and there are 2p - 1 microbatches") {
  for (const auto& [ranks, microbatches] :
       {std::pair{4, 8}, std::pair{4, 7}, std::pair{6, 14}, std::pair{8, 40}}) {
    CAPTURE(ranks, microbatches);
    const Report report = simulate(pipeline("zb_v", ranks, microbatches, {8, 8, 8})).report;
    CHECK(report.bubble_fraction == 0);
    CHECK(report.bubble_mean == 0);
    CHECK(report.bubble_most == 0);
    // The step as a whole ends as a parallelogram: a pass of a chunk later on each rank.
    CHECK(report.makespan == Time{4'000'000'000} * (6 * microbatches + ranks - 1));
  }
}
