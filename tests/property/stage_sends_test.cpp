// Over random layouts: what goes from one pipeline rank to the next is the activation, once or once for each
// tensor-parallel rank, and what is gathered on its arrival is counted.
#include <fmt/format.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>

#include "models/base/random.hpp"
#include "sim/read/scenario.hpp"
#include "sim/run/simulate.hpp"
#include "sim/search/search.hpp"

using namespace moesim;

namespace {

constexpr std::int64_t sequence_length = 256;

struct Case {
  std::int64_t per_node = 4, pipeline = 2, tensor = 2, context = 1, data = 1, hidden = 512;
  const char* schedule = "1f1b";
  const char* placement = "[]";
};

Scenario scenario_of(const Case& c, bool sequence_parallel, const char* sends,
                     const char* resolution = "folded") {
  const std::string text = fmt::format(
      R"({{"model": {{"name": "small", "hidden": {}, "vocabulary": 1024, "layers": 8,
            "attention": {{"kind": "grouped_query", "heads": 8, "kv_heads": 4, "head_dim": 64}},
            "feed_forward": {{"kind": "swiglu", "width": 1024}}}},
          "software": {{"kind": "ideal"}},
          "cluster": {{"name": "nodes", "device": "configs/devices/h100.json", "devices": {},
            "topology": {{"kind": "rail_fat_tree", "levels": 2, "nvlink_rate": "400 GB/s",
              "devices_per_node": {}, "nic_rate": "50 GB/s"}}}},
          "batch": {{"sequences": {}, "sequence_length": {}}},
          "parallelism": {{"pipeline": {}, "tensor": {}, "context": {}, "sequence_parallel": {},
            "placement": {}}},
          "schedule": {{"kind": "{}"}},
          "collectives": {{"stage_sends": "{}"}},
          "resolution": "{}"}})",
      c.hidden, c.pipeline * c.tensor * c.context * c.data, c.per_node, 8 * c.data, sequence_length,
      c.pipeline, c.tensor, c.context, sequence_parallel, c.placement, c.schedule, sends, resolution);
  return read_scenario(load_document_text(text, MOESIM_SOURCE "/stage_sends.json"));
}

template <class T>
T one_of(RandomStream& random, std::initializer_list<T> choices) {
  return choices.begin()[random.below(choices.size())];
}

Case random_case(RandomStream& random) {
  Case c{.per_node = one_of<std::int64_t>(random, {2, 4}),
         .pipeline = one_of<std::int64_t>(random, {2, 4}),
         .tensor = one_of<std::int64_t>(random, {2, 4}),
         .context = one_of<std::int64_t>(random, {1, 2}),
         .data = one_of<std::int64_t>(random, {1, 2})};
  c.schedule = one_of(random, {"1f1b", "gpipe", "interleaved", "zb_h1", "zb_v", "dualpipe", "chimera"});
  c.placement = one_of(random, {"[]", R"(["tensor", "expert", "pipeline", "data"])",
                                R"(["expert", "data", "tensor", "pipeline"])"});
  return c;
}

/// Times that something goes from one rank to another: activations and gradients of all microbatches of one
/// pipeline.
std::int64_t crossings(const Order& order) {
  std::int64_t count = 0;
  for (const std::uint8_t of : order.chain_of_microbatch) {
    const std::vector<Place>& chain = order.chains[of];
    for (std::size_t stage = 1; stage < chain.size(); ++stage)
      count += chain[stage].rank != chain[stage - 1].rank ? 2 : 0;
  }
  return count;
}

std::int64_t bytes_of(const Report& report, Activity activity) {
  return report.communications[static_cast<std::size_t>(activity)].bytes;
}

}  // namespace

TEST_CASE("Bytes between two pipeline ranks are the activation, or once for each tensor-parallel rank") {
  RandomStream random = Random(31).stream("stage_sends");
  for (int i = 0; i < 40; ++i) {
    const Case c = random_case(random);
    INFO(c.schedule << ", pipeline " << c.pipeline << ", tensor " << c.tensor << ", context " << c.context
                    << ", data " << c.data << ", " << c.placement);
    const Scenario scenario = scenario_of(c, false, "scattered");
    const std::int64_t activation = sequence_length * c.hidden * 2;  // of all context ranks, in bf16
    const std::int64_t once = c.data * crossings(work_of(scenario).order) * activation;
    const Report scattered = simulate(scenario).report;
    const Report whole = simulate(scenario_of(c, false, "whole")).report;
    const Report parts = simulate(scenario_of(c, true, "whole")).report;
    CHECK(bytes_of(scattered, Activity::pipeline) == once);
    CHECK(bytes_of(whole, Activity::pipeline) == once * c.tensor);
    CHECK(bytes_of(parts, Activity::pipeline) == once);
    // Each rank of a group gets the parts of all others.
    CHECK(bytes_of(scattered, Activity::tensor) - bytes_of(whole, Activity::tensor) == once * (c.tensor - 1));
    CHECK(bytes_of(simulate(scenario_of(c, true, "scattered")).report, Activity::tensor) ==
          bytes_of(parts, Activity::tensor));
    const std::int64_t held = activation / c.context;
    CHECK(whole.memory[0].buffers.count - scattered.memory[0].buffers.count ==
          4 * (held - held / c.tensor) - 2 * held);
  }
}

TEST_CASE("Folded equals full where stages send parts and gather them") {
  RandomStream random = Random(32).stream("stage_sends");
  for (int i = 0; i < 12; ++i) {
    const Case c = random_case(random);
    INFO(c.schedule << ", pipeline " << c.pipeline << ", tensor " << c.tensor << ", context " << c.context
                    << ", data " << c.data << ", " << c.placement);
    const Report folded = simulate(scenario_of(c, false, "scattered")).report;
    const Report full = simulate(scenario_of(c, false, "scattered", "full")).report;
    CHECK(std::abs(folded.step_time.count - full.step_time.count) <= 1);
    CHECK(bytes_of(folded, Activity::pipeline) == bytes_of(full, Activity::pipeline));
    CHECK(bytes_of(folded, Activity::tensor) == bytes_of(full, Activity::tensor));
  }
}

TEST_CASE("A search's estimate knows of parts that are sent and gathered") {
  for (const std::string sends : {"whole", "scattered"}) {
    SearchRequest request{.path = MOESIM_SOURCE "/scenarios/validation/gpt-a100.json",
                          .overrides = {},
                          .simulate = 16,
                          .jobs = 2};
    for (const std::string& set :
         {"collectives.stage_sends=" + sends, std::string("search.tensor=[4,8]"),
          std::string("search.pipeline=[2,4,8]"), std::string("search.microbatch=[2,4]"),
          std::string("search.context=[1]"), std::string("search.expert=[1]"),
          std::string("search.schedule=[\"1f1b\",\"gpipe\"]"), std::string("search.recompute=[\"full\"]"),
          std::string("search.gradient_sync=[\"all_reduce\"]"),
          std::string("search.placement=[\"tensor+expert+data+pipeline\"]")})
      request.overrides.push_back(parse_override(set));
    const SearchResult result = search(request).result;
    INFO(sends);
    REQUIRE(result.agreement.pairs > 4);
    CHECK(std::abs(result.agreement.worst) < 0.08);
    CHECK(result.agreement.median < 0.02);
    for (const FoundPlan& plan : result.simulated)
      CHECK(plan.estimated_memory <= 1.0000001 * static_cast<double>(plan.report->memory_peak().count));
  }
}
