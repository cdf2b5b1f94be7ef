#include "sim/report/steps.hpp"
#include "sim/read/scenario.hpp"

#include <catch2/catch.hpp>

#include "sim/lower/lower.hpp"
#include "sim/scenario/scenario.hpp"
#include "tests/support/program.hpp"

using namespace moesim;
using namespace moesim::testing;

namespace {

Report report_of(const std::vector<Override>& overrides) {
  const Scenario scenario = load_scenario("scenarios/two-gpus.json", overrides);
  const TaskGraph graph = lower(work_of(scenario));
  const Timeline timeline = scenario.engine->run(graph);
  return summarize(work_of(scenario), graph, timeline, critical_path(graph, timeline));
}

const StepReport& row(const Report& report, std::string_view step, std::string_view part = "") {
  for (const StepReport& candidate : report.steps) {
    if (candidate.step == step && candidate.part == part) return candidate;
  }
  FAIL("no row " << step << " " << part);
  throw 0;
}

}  // namespace

TEST_CASE("The steps of training come in the order in which a token meets them") {
  std::vector<std::string> order;
  for (const StepReport& step : report_of({}).steps) {
    if (order.empty() || order.back() != step.step) order.push_back(step.step);
  }
  REQUIRE(order.size() >= 8);
  order.resize(8);
  CHECK(order == std::vector<std::string>{"attention", "router", "dispatch", "experts", "combine", "loss",
                                          "backward", "gradients"});
}

TEST_CASE("Every step of a small MoE model takes time, and the exchanges carry bytes") {
  const Report report = report_of({});
  for (const StepReport& step : report.steps) {
    INFO(step.step << " " << step.part);
    CHECK((step.compute + step.communication).count > 0);
  }
  for (const std::string_view part : {"combine", "dispatch"}) {
    CHECK(row(report, part).bytes > 0);
    CHECK(row(report, part).compute.count > 0);  // permutation and weighted sum stand beside the exchange
    CHECK(row(report, "backward", part).bytes == row(report, part).bytes);
  }
}

TEST_CASE("A router with more experts takes more of the step, and attention as much as before") {
  const Report few = report_of({});
  const Report many = report_of({parse_override("model.moe.experts=64")});
  CHECK(row(many, "router").compute > row(few, "router").compute);
  CHECK(to_seconds(row(many, "attention").compute) ==
        Approx(to_seconds(row(few, "attention").compute)).epsilon(1e-3));
}
