// What is sent is received, whatever the groups: exact bytes of token exchange, or a clear refusal.
#include <fmt/format.h>

#include <catch2/catch.hpp>
#include <cmath>
#include <map>

#include "models/base/error.hpp"
#include "sim/lower/lower.hpp"
#include "sim/read/scenario.hpp"
#include "sim/run/simulate.hpp"
#include "sim/scenario/scenario.hpp"

using namespace moesim;

namespace {

/// A model of two MoE layers on nodes of eight or fewer devices.
struct Setup {
  std::int64_t devices = 8, per_node = 8, experts = 24, top_k = 2, expert = 8, tensor = 1, pipeline = 1,
               sequences = 48;
  std::string dispatch = "pairwise";
  std::string resolution = "folded";
};

Scenario scenario_of(const Setup& setup) {
  const std::string text = fmt::format(
      R"({{"model": {{"name": "small", "hidden": 512, "vocabulary": 1024, "layers": 2,
            "attention": {{"kind": "multi_head", "heads": 8}},
            "moe": {{"experts": {}, "top_k": {}, "width": 256}}}},
          "software": {{"kind": "ideal"}},
          "cluster": {{"name": "nodes", "device": "configs/devices/h100.json", "devices": {},
            "topology": {{"kind": "rail_fat_tree", "levels": 2, "devices_per_node": {},
              "nvlink_rate": "400 GB/s", "nic_rate": "50 GB/s"}}}},
          "batch": {{"sequences": {}, "sequence_length": 128}},
          "parallelism": {{"pipeline": {}, "tensor": {}, "expert": {}}},
          "collectives": {{"dispatch": {{"kind": "{}"}}, "combine": {{"kind": "{}"}}}},
          "resolution": "{}"}})",
      setup.experts, setup.top_k, setup.devices, setup.per_node, setup.sequences, setup.pipeline,
      setup.tensor, setup.expert, setup.dispatch, setup.dispatch, setup.resolution);
  return read_scenario(load_document_text(text, MOESIM_SOURCE "/exchange.json"));
}

void check_conserved(const TaskGraph& graph) {
  for (const Pattern& pattern : graph.pattern_table) {
    CHECK(pattern.bytes_sent == pattern.bytes_received);
    CHECK(pattern.bytes_sent > 0);
  }
}

/// Bytes of each phase, from the graph.
std::map<Activity, std::int64_t> bytes_of(const TaskGraph& graph) {
  std::map<Activity, std::int64_t> bytes;
  for (TaskId task = 0; task < graph.size(); ++task) {
    if (graph.kinds[task] == TaskKind::coflow)
      bytes[graph.tags[task].activity] += graph.pattern_table[graph.patterns[task]].bytes_sent;
  }
  return bytes;
}

/// Rows that leave their rank: each token goes to top-k experts, (n-1)/n of which live elsewhere; bf16 rows.
double pairwise_bytes(const Setup& setup) {
  const double tokens = static_cast<double>(setup.sequences) * 128;
  const double n = static_cast<double>(setup.expert);
  const double layers = 2;
  return tokens * static_cast<double>(setup.top_k) * (n - 1) / n * 512 * 2 * layers;
}

}  // namespace

TEST_CASE("An exchange moves exactly the rows that leave their rank, there and back, in every layout") {
  for (const Setup& setup :
       {Setup{},                                                             // TP1 and EP8, one node
        Setup{.devices = 16, .expert = 2},                                   //
        Setup{.devices = 16, .experts = 32, .expert = 16, .sequences = 32},  // two nodes
        Setup{.devices = 24, .expert = 12},                // 8 + 4 and 4 + 8 devices of a node
        Setup{.devices = 24, .expert = 24},                // three nodes
        Setup{.devices = 12, .per_node = 4, .expert = 6},  // 4 + 2 and 2 + 4
        Setup{.devices = 6, .per_node = 3, .expert = 2},   // a group lies across two nodes
        Setup{.devices = 16, .experts = 32, .expert = 8, .tensor = 2, .sequences = 32},
        Setup{.devices = 16, .expert = 8, .pipeline = 2}}) {
    INFO(setup.devices << " devices, " << setup.per_node << " a node, EP" << setup.expert << ", TP"
                       << setup.tensor << ", PP" << setup.pipeline);
    const Scenario scenario = scenario_of(setup);
    const TaskGraph graph = lower(work_of(scenario));
    check_conserved(graph);
    const std::map<Activity, std::int64_t> bytes = bytes_of(graph);
    for (const Activity activity :
         {Activity::dispatch, Activity::combine, Activity::dispatch_backward, Activity::combine_backward}) {
      CHECK(static_cast<double>(bytes.at(activity)) == Approx(pairwise_bytes(setup)).epsilon(1e-6));
    }
    CHECK_NOTHROW(simulate(scenario));
  }
}

TEST_CASE("A full simulation moves the bytes of the folded one") {
  for (Setup setup :
       {Setup{}, Setup{.devices = 24, .expert = 12}, Setup{.devices = 16, .expert = 8, .pipeline = 2},
        Setup{.devices = 24, .per_node = 12, .dispatch = "hierarchical"},  // groups on one node and on two
        Setup{.devices = 16, .expert = 8, .dispatch = "hierarchical"}}) {
    setup.resolution = "folded";
    const std::map<Activity, std::int64_t> folded = bytes_of(lower(work_of(scenario_of(setup))));
    setup.resolution = "full";
    const TaskGraph graph = lower(work_of(scenario_of(setup)));
    check_conserved(graph);
    const std::map<Activity, std::int64_t> full = bytes_of(graph);
    REQUIRE(full.size() == folded.size());
    for (const auto& [activity, bytes] : folded) {
      INFO(name_of(activity));
      CHECK(static_cast<double>(full.at(activity)) == Approx(static_cast<double>(bytes)).epsilon(1e-6));
    }
  }
}

TEST_CASE("An expert group that fills its nodes unevenly has no hierarchical exchange, and that is said") {
  for (const Setup& setup : {Setup{.devices = 24, .expert = 12, .dispatch = "hierarchical"},
                             Setup{.devices = 12, .per_node = 4, .expert = 6, .dispatch = "hierarchical"}}) {
    const Scenario scenario = scenario_of(setup);
    CHECK_THROWS_AS(lower(work_of(scenario)), InputError);
  }
  const Scenario uneven = scenario_of({.devices = 24, .expert = 12, .dispatch = "hierarchical"});
  CHECK_THROWS_WITH(
      lower(work_of(uneven)),
      "collectives: 'hierarchical' needs as many ranks of an expert group on each of its nodes, but has "
      "8 and 4 (pairwise takes any group)");
}
