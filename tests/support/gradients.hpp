// A small scenario for every way of synchronisation.
#pragma once

#include <fmt/format.h>

#include <string>

#include "sim/read/scenario.hpp"
#include "sim/scenario/scenario.hpp"

namespace moesim::testing {

/// Sixteen H100 on two nodes and eight MoE layers, large enough that latencies are small; the rest is given.
struct SyncCase {
  std::string sync = R"({"kind": "zero1"})";  ///< gradient_sync
  int pipeline = 1, expert = 4, sequences = 64, layers = 8;
  std::string schedule = R"({"kind": "1f1b"})";
  std::string collectives = "{}";
  std::string resolution = "folded";
};

inline Scenario scenario_of(const SyncCase& c) {
  const std::string text = fmt::format(
      R"({{"model": {{"extends": "configs/models/tiny.json", "layers": {}, "hidden": 4096,
                     "moe": {{"experts": 4, "top_k": 2, "width": 8192}}}},
           "software": {{"kind": "ideal"}},
           "cluster": {{"extends": "configs/clusters/h100-64.json", "devices": 16}},
           "batch": {{"sequences": {}, "sequence_length": 512}},
           "parallelism": {{"pipeline": {}, "expert": {}}},
           "schedule": {}, "collectives": {}, "gradient_sync": {}, "resolution": "{}"}})",
      c.layers, c.sequences, c.pipeline, c.expert, c.schedule, c.collectives, c.sync, c.resolution);
  return read_scenario(load_document_text(text, MOESIM_SOURCE "/scenarios/case.json"));
}

}  // namespace moesim::testing
