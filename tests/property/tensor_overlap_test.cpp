// Products in parts beside what a tensor-parallel group sends for them: never slower than one after the other
// but for what parts lose, never faster than either alone, and the same bytes.
#include <fmt/format.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <map>
#include <optional>

#include "models/base/error.hpp"
#include "sim/estimate/costs.hpp"
#include "sim/estimate/estimate.hpp"
#include "sim/estimate/layer_passes.hpp"
#include "sim/read/scenario.hpp"
#include "sim/run/simulate.hpp"
#include "sim/work/share.hpp"

using namespace moesim;

namespace {

constexpr std::int64_t tokens = 4096, hidden = 2048, layers = 4, ranks = 8;

struct Case {
  bool overlaps = true;
  std::int64_t tensor = 4, context = 1, pipeline = 1, microbatches = 1;
  std::string rate = "450 GB/s", schedule = R"({"kind": "1f1b"})", more = "", resolution = "folded";
  bool has_experts = false;
  std::string cluster{};
  std::int64_t multiprocessors = 0;
};

std::string text_of(const Case& c) {
  const char* dense = R"("feed_forward": {"kind": "swiglu", "width": 8192})";
  const char* experts = R"("moe": {"experts": 8, "top_k": 2, "width": 2048, "shared_experts": 1})";
  const char* flex = R"("moe_token_dispatcher_type": "flex", "moe_flex_dispatcher_backend": "hybridep",)";
  const std::string node = fmt::format(
      R"({{"name": "node", "device": {{"extends": "configs/devices/h100.json", "spread": 0}}, "devices": {},
           "topology": {{"kind": "nvswitch", "nvlink_rate": "{}"}}}})",
      ranks, c.rate);
  const std::string& cluster = c.cluster.empty() ? node : c.cluster;
  return fmt::format(
      R"({{"model": {{"name": "dense", "hidden": {}, "vocabulary": 8192, "layers": {},
            "attention": {{"kind": "grouped_query", "heads": 16, "kv_heads": 8, "head_dim": 128}}, {}}},
          "cluster": {},
          "batch": {{"sequences": {}, "sequence_length": {}}}, "schedule": {}, "resolution": "{}",
          "software": {{"kind": "megatron_core", "cuda_graph_scope": ["full_iteration"],
                        {} "tp_comm_overlap": {}}},
          "parallelism": {{"tensor": {}, "context": {}, "pipeline": {}}},
          "collectives": {{"tensor": {{"kind": "ring"}}, "communication_sms": {}}}{}}})",
      hidden, layers, c.has_experts ? experts : dense, cluster,
      std::max<std::int64_t>(1, ranks / (c.tensor * c.context * c.pipeline)) * c.microbatches, tokens,
      c.schedule, c.resolution, c.has_experts ? flex : "", c.overlaps, c.tensor, c.context, c.pipeline,
      c.multiprocessors, c.more);
}

Scenario scenario_of(const Case& c) {
  return read_scenario(load_document_text(text_of(c), MOESIM_SOURCE "/scenarios/case.json"));
}
Report report_of(const Case& c) { return simulate(scenario_of(c)).report; }

Case without(Case c) {
  c.overlaps = false;
  return c;
}

/// The pass through the first layer.
LayerPass pass_of(const Case& c, Pass pass) {
  const Scenario scenario = scenario_of(c);
  for (const LayerPasses& of : layer_passes(scenario, work_of(scenario).order)) {
    if (of.end != Activity::none) continue;
    for (const LayerPass& one : of.passes)
      if (one.pass == pass) return one;
  }
  throw std::logic_error("no such pass");
}

const CommunicationReport& phase(const Report& report, Activity activity) {
  return report.communications[static_cast<std::size_t>(activity)];
}

std::string said(const Case& c) {
  try {
    scenario_of(c);
    return "";
  } catch (const InputError& error) {
    return error.what();
  }
}

}  // namespace

TEST_CASE("A forward takes its blocks one after the other, and of parts beside a call the longer") {
  for (const char* rate : {"20 GB/s", "100 GB/s", "450 GB/s", "100 TB/s"}) {
    const LayerPass pass = pass_of({.rate = rate}, Pass::forward);
    Time sum;
    std::map<Lane, Time> beside;
    int groups = 0;
    const auto end_group = [&] {
      Time longest;
      for (const auto& [lane, time] : beside) longest = std::max(longest, time);
      sum += longest;
      groups += beside.empty() ? 0 : 1;
      beside.clear();
    };
    for (const PricedAct& row : pass.acts) {
      if (row.time.count == 0) continue;
      if (row.act.lane == main_lane) end_group();
      (row.act.lane == main_lane ? sum : beside[row.act.lane]) += row.time;
    }
    end_group();
    CAPTURE(rate);
    CHECK(groups == 4);  // two products behind gathers, two before sums
    CHECK(pass.time.count == sum.count);
  }
}

TEST_CASE(
    "What is gathered is not there before the last part's turn, nor added up before the first is done") {
  const LayerPass pass = pass_of({.rate = "20 GB/s"}, Pass::forward);
  Time sent;
  for (const PricedAct& row : pass.acts)
    if (row.act.kind == ActKind::call) sent += row.time;
  CHECK(pass.time > sent);
  const LayerPass apart = pass_of(without({.rate = "20 GB/s"}), Pass::forward);
  CHECK(pass.time < apart.time);
}

TEST_CASE("The group sends the same bytes in parts") {
  for (const std::int64_t tensor : {2, 4, 8}) {
    const Case c{.tensor = tensor, .microbatches = 2};
    CHECK(phase(report_of(c), Activity::tensor).bytes ==
          phase(report_of(without(c)), Activity::tensor).bytes);
  }
}

TEST_CASE("Parts hide most of what is exposed, and cost what small products lose") {
  for (const std::int64_t tensor : {2, 4, 8}) {
    for (const bool has_experts : {false, true}) {
      const Case c{.tensor = tensor, .microbatches = 2, .has_experts = has_experts};
      const Report with = report_of(c), base = report_of(without(c));
      CAPTURE(tensor, has_experts);
      CHECK(phase(with, Activity::tensor).exposed < phase(base, Activity::tensor).exposed);
      CHECK(to_seconds(with.step_time) < 1.02 * to_seconds(base.step_time));
    }
  }
}

TEST_CASE("Estimates of products in parts are what the engine makes of them") {
  for (const Case& c : {Case{}, Case{.tensor = 2}, Case{.tensor = 2, .context = 2}, Case{.rate = "30 GB/s"},
                        Case{.multiprocessors = 16}, Case{.more = R"(, "recompute": ["full"])"},
                        Case{.more = R"(, "recompute": ["norm", "attention"])"}}) {
    const auto estimated = [](const Case& of) {
      const Scenario scenario = scenario_of(of);
      CostTables tables(scenario_of(of), Sizing::exact);
      const Division division{scenario.layout.sizes(), scenario.layout.placement()};
      const DivisionGroups groups = tables.groups(division);
      const MicrobatchCost cost = tables.cost(division, groups, 1, {{}, scenario.recompute}, 0);
      const LayerCost stage =
          stage_costs(cost, tables.kind_of_layer(), scenario.layers_per_stage).costs.front();
      return stage.in(Pass::forward) + stage.in(Pass::backward);
    };
    CAPTURE(text_of(c));
    const Time more = estimated(c) - estimated(without(c));
    CHECK(more.count == (report_of(c).step_time - report_of(without(c)).step_time).count);
  }
}

TEST_CASE("Folded and full runs overlap products alike, whatever the schedule") {
  for (const char* schedule : {R"({"kind": "1f1b"})", R"({"kind": "interleaved"})"}) {
    for (const bool has_experts : {false, true}) {
      Case c{.tensor = 2, .pipeline = 2, .microbatches = 4, .schedule = schedule, .has_experts = has_experts};
      const Time folded = report_of(c).step_time;
      c.resolution = "full";
      CHECK(std::abs(folded.count - report_of(c).step_time.count) <= 3);
    }
  }
}

TEST_CASE("Ten buffers have the tokens of the group") {
  const auto buffers = [](const Case& c) { return report_of(c).memory.front().channels.count; };
  CHECK(buffers({}) - buffers(without({})) == 10 * tokens * hidden * 2);
  CHECK(buffers({.tensor = 1}) == buffers(without({.tensor = 1})));
}

TEST_CASE("Products do not run in parts where nothing is gathered or links are a network's") {
  using Catch::Matchers::Contains;
  Case c{};
  std::string text = text_of(c);
  text.replace(text.find("\"tensor\": 4"), 11, "\"sequence_parallel\": false, \"tensor\": 4");
  CHECK_THROWS_WITH(read_scenario(load_document_text(text, MOESIM_SOURCE "/scenarios/case.json")),
                    Contains("software.tp_comm_overlap") && Contains("sequence_parallel is false"));
  CHECK_THAT(said({.tensor = 16, .cluster = R"({"extends": "configs/clusters/h100-16.json"})"}),
             Contains("a tensor group has 16 ranks: expected one that lies in a node of 8"));
  text = text_of(c);
  text.replace(text.find("\"tp_comm_overlap\""), 0, "\"transformer_impl\": \"local\", ");
  CHECK_THROWS_WITH(read_scenario(load_document_text(text, MOESIM_SOURCE "/scenarios/case.json")),
                    Contains("tp_comm_overlap") && Contains("transformer_impl is local"));
  CHECK(said(c).empty());
}
