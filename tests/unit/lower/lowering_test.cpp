// What lowering promises of tags, recomputation and the report of uneven pipelines.
#include <fmt/format.h>
#include <algorithm>
#include <catch2/catch.hpp>

#include "models/base/error.hpp"
#include "sim/lower/lower.hpp"
#include "sim/read/scenario.hpp"
#include "sim/run/simulate.hpp"

using namespace moesim;

namespace {

Scenario mixtral(const std::vector<std::string>& sets) {
  std::vector<Override> overrides;
  for (const std::string& set : sets) overrides.push_back(parse_override(set));
  return load_scenario(MOESIM_SOURCE "/scenarios/mixtral-8x7b-h100.json", overrides);
}

std::int64_t bytes_of(const Report& report, Activity activity) {
  return report.communications[static_cast<std::size_t>(activity)].bytes;
}

/// What layers send, without embedding and head.
std::int64_t layer_bytes(const TaskGraph& graph, Activity activity) {
  std::int64_t sum = 0;
  for (TaskId task = 0; task < graph.size(); ++task) {
    if (graph.tags[task].activity != activity || graph.tags[task].layer < 0) continue;
    sum += graph.pattern_table[graph.patterns[task]].bytes_sent;
  }
  return sum;
}

}  // namespace

TEST_CASE("A send is tagged with what it carries, whoever was lowered first") {
  for (const std::string kind : {"1f1b", "dualpipe"}) {
    const TaskGraph graph = lower(work_of(mixtral({"schedule.kind=" + kind})));
    std::size_t forward = 0;
    std::size_t backward = 0;
    for (TaskId task = 0; task < graph.size(); ++task) {
      const Tag& tag = graph.tags[task];
      if (tag.activity != Activity::pipeline) continue;
      CHECK(!tag.overlapped);
      (tag.pass == PassKind::forward ? forward : backward) += 1;
      CHECK((tag.pass == PassKind::forward || tag.pass == PassKind::backward_input));
    }
    CHECK(forward > 0);
    CHECK(forward == backward);
  }
}

TEST_CASE("Gradients and parameters that ranks share carry no rank's number") {
  const TaskGraph graph = lower(work_of(mixtral({"schedule.kind=dualpipe"})));
  for (const Tag& tag : graph.tags) {
    if (tag.activity == Activity::gradient || tag.activity == Activity::parameter)
      CHECK(tag.pipeline_rank == -1);
  }
}

TEST_CASE("Full recomputation sends once more what a forward sends, over tensor and expert groups") {
  const TaskGraph once = lower(work_of(mixtral({"parallelism.tensor=2", "recompute=none"})));
  const TaskGraph twice = lower(work_of(mixtral({"parallelism.tensor=2", "recompute=full"})));
  const Report kept = simulate(mixtral({"parallelism.tensor=2", "recompute=none"})).report;
  const Report again = simulate(mixtral({"parallelism.tensor=2", "recompute=full"})).report;
  CHECK(bytes_of(again, Activity::dispatch) == 2 * bytes_of(kept, Activity::dispatch));
  CHECK(bytes_of(again, Activity::combine) == 2 * bytes_of(kept, Activity::combine));
  // Layers gather and scatter forward and backward, and gather once more for weight gradients; recomputation
  // does what forward did. Embedding and head do not recompute.
  CHECK(5 * layer_bytes(twice, Activity::tensor) == 7 * layer_bytes(once, Activity::tensor));
  CHECK(bytes_of(again, Activity::pipeline) == bytes_of(kept, Activity::pipeline));
}

TEST_CASE("What backward overlaps with tensor parallelism changes when bytes are sent, not which") {
  for (const std::string kind : {"1f1b", "zb_h1", "dualpipe"}) {
    for (const std::string parts : {"true", "false"}) {
      INFO(kind << ", sequence_parallel " << parts);
      const auto with = [&](const std::string& backward) {
        return mixtral({"parallelism.tensor=2", "parallelism.expert_tensor=2", "parallelism.expert=4",
                        "parallelism.sequence_parallel=" + parts, "schedule.kind=" + kind,
                        "software.kind=file", "software.tensor_backward=" + backward});
      };
      const Report overlapped = simulate(with("overlapped")).report;
      const Report in_turn = simulate(with("in_turn")).report;
      const auto tensor = static_cast<std::size_t>(Activity::tensor);
      CHECK(overlapped.communications[tensor].bytes == in_turn.communications[tensor].bytes);
      if (kind == "1f1b") {
        CHECK(overlapped.step_time < in_turn.step_time);
        CHECK(overlapped.communications[tensor].exposed < in_turn.communications[tensor].exposed);
      } else {
        CHECK(overlapped.step_time <= in_turn.step_time);
      }
    }
  }
}

TEST_CASE("What a pass sends inside its blocks is not held up by an exchange of the other pass of a pair") {
  const Scenario scenario = mixtral({"parallelism.tensor=2", "schedule.overlap=true", "engine.kind=fluid"});
  const TaskGraph graph = lower(work_of(scenario));
  const Timeline timeline = scenario.engine->run(graph);
  std::vector<TaskId> inside, exchanges;
  for (TaskId task = 0; task < graph.size(); ++task) {
    const Tag& tag = graph.tags[task];
    if (!tag.overlapped || tag.pipeline_rank != 0) continue;
    if (tag.activity == Activity::tensor) inside.push_back(task);
    if (is_exchange(tag.activity)) exchanges.push_back(task);
  }
  REQUIRE(!inside.empty());
  const auto meets_exchange = [&](TaskId call) {
    return std::any_of(exchanges.begin(), exchanges.end(), [&](TaskId exchange) {
      return timeline.starts[call] < timeline.ends[exchange] &&
             timeline.starts[exchange] < timeline.ends[call];
    });
  };
  CHECK(std::any_of(inside.begin(), inside.end(), meets_exchange));
}

TEST_CASE("The bubble is that of the rank with most to do, whatever span the schedule has") {
  const std::string uneven = "parallelism.layers_per_stage=[2,10,10,10]";
  for (const std::string kind : {"zb_h1", "zb_h2", "zb_auto"}) {
    const Report report = simulate(mixtral({"schedule.kind=" + kind, uneven})).report;
    const PipelineRankReport* busiest = &report.pipeline_ranks.front();
    for (const PipelineRankReport& stage : report.pipeline_ranks) {
      if (stage.busy > busiest->busy) busiest = &stage;
    }
    CAPTURE(kind, report.bubble_fraction, report.makespan_bubble_fraction);
    CHECK(report.bubble == busiest->bubble);
    CHECK(report.makespan_bubble_fraction == Approx(1 - busiest->busy / report.makespan));
    CHECK(report.makespan_bubble_fraction < 0.25);
  }
}

TEST_CASE("A pair that takes less than the longer of its halves is refused") {
  const auto pair_of = [](const std::string& duration) {
    return load_scenario(MOESIM_SOURCE "/scenarios/dualpipe-8x20.json",
                         {parse_override("cost.overlapped_forward_backward=" + duration)});
  };
  CHECK_THROWS_WITH(pair_of("1.9 s"),
                    Catch::EndsWith("is 1.9 s, expected at least the longer of its halves, 2 s"));
  CHECK(simulate(pair_of("2 s")).report.step_time < simulate(pair_of("3 s")).report.step_time);
}

TEST_CASE("Passes of more than 100 days together are refused by the search for an order") {
  CHECK_THROWS_WITH(
      load_scenario(MOESIM_SOURCE "/scenarios/dualpipe-8x20.json",
                    {parse_override("schedule.kind=zb_auto"), parse_override("cost.forward=8000000 s")}),
      Catch::Contains("expected at most 100 days together"));
}

TEST_CASE("A graph that no machine holds is refused with its size") {
  CHECK_THROWS_WITH(mixtral({"batch.sequences=15999984"}),
                    Catch::Contains("tasks (999999 microbatches), expected at most 2e+08"));
}

TEST_CASE("Devices that differ hold up all others: a job runs at the pace of its slowest ones") {
  const auto with = [](double spread, std::int64_t pipeline) {
    return simulate(
               mixtral({fmt::format("cluster.device.spread={}", spread),
                        fmt::format("parallelism.pipeline={}", pipeline), "gradient_sync.overlap=false"}))
        .report;
  };
  const Report alike = with(0, 1);
  const Report differing = with(0.02, 1);
  CHECK(differing.breakdown.compute / alike.breakdown.compute ==
        Approx(largest_over_mean(0.02, 64)).epsilon(0.002));
  const double several = with(0.02, 4).step_time / with(0, 4).step_time;
  CHECK(several > 1 + 0.02);
  CHECK(several < largest_over_mean(0.02, 64) + 0.001);
}
