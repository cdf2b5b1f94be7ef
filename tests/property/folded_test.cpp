// One rank for its symmetric peers is exact: folded and full give the same step, the same shares of it and
// the same bytes, over small clusters, layouts and schedules.
#include <fmt/format.h>
#include <catch2/catch.hpp>

#include "sim/run/simulate.hpp"

using namespace moesim;

namespace {

struct Case {
  const char* cluster;
  int devices, pipeline, tensor, expert, sequences;
  const char* schedule;
  const char* placement;
};

Scenario scenario_of(const Case& c, const char* resolution) {
  const std::string text = fmt::format(
      R"({{"model": {{"extends": "configs/models/tiny.json", "layers": 8}},
           "cluster": {{"extends": "configs/clusters/{}", "devices": {}}},
           "batch": {{"sequences": {}, "sequence_length": 512}},
           "parallelism": {{"pipeline": {}, "tensor": {}, "expert": {}, "placement": {}}},
           "schedule": {{"kind": "{}"}},
           "collectives": {{"dispatch": {{"kind": "pairwise", "deduplicate": true}}, "communication_sms": 8,
                            "slowed_by_compute": 1.3}},
           "resolution": "{}"}})",
      c.cluster, c.devices, c.sequences, c.pipeline, c.tensor, c.expert, c.placement, c.schedule, resolution);
  return read_scenario(load_document_text(text, MOESIM_SOURCE "/scenarios/case.json"));
}

constexpr const char* usual = R"(["tensor", "context", "expert", "data", "pipeline"])";
constexpr const char* pipeline_inside = R"(["tensor", "context", "pipeline", "expert", "data"])";

}  // namespace

TEST_CASE("A folded run equals the full run to the picosecond") {
  const Case c = GENERATE(Case{"h100-64.json", 16, 4, 1, 4, 32, "1f1b", usual},
                          Case{"h100-64.json", 16, 4, 1, 4, 32, "1f1b", pipeline_inside},
                          Case{"h100-64.json", 32, 4, 2, 4, 64, "gpipe", usual},
                          Case{"h100-64.json", 16, 2, 1, 4, 64, "zb_h1", usual},
                          Case{"h800-2048.json", 32, 4, 1, 4, 128, "dualpipe", usual},
                          Case{"h800-2048.json", 16, 2, 1, 4, 64, "dualpipev", pipeline_inside},
                          Case{"h100-64.json", 64, 4, 1, 4, 64, "interleaved", usual});
  CAPTURE(c.cluster, c.devices, c.pipeline, c.tensor, c.expert, c.schedule, c.placement);
  const Report folded = simulate(scenario_of(c, "folded")).report;
  const Report full = simulate(scenario_of(c, "full")).report;
  CHECK(full.tasks > folded.tasks);
  CHECK(folded.step_time == full.step_time);
  CHECK(folded.makespan == full.makespan);
  CHECK(folded.breakdown.compute == full.breakdown.compute);
  CHECK(folded.breakdown.exposed_communication == full.breakdown.exposed_communication);
  CHECK(folded.breakdown.optimizer == full.breakdown.optimizer);
  for (std::size_t work = 0; work < work_count; ++work) {
    CAPTURE(work_names[work]);
    CHECK(static_cast<double>(folded.phases[work].bytes) ==
          Approx(static_cast<double>(full.phases[work].bytes)).epsilon(1e-6));
    CHECK(folded.phases[work].messages == full.phases[work].messages);
    CHECK(folded.phases[work].busy == full.phases[work].busy);
  }
  for (std::size_t i = 0; i < folded.link_classes.size(); ++i) {
    CHECK(folded.link_classes[i].max_utilization ==
          Approx(full.link_classes[i].max_utilization).epsilon(1e-6));
  }
}
