// The estimate of a step over several pipeline ranks, with exact prices, against the engines. A stage by
// itself is exact (estimate_laws_test.cpp); a step is a few long paths of stages that differ, so here is a
// bound.
#include <fmt/format.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <optional>

#include "models/base/error.hpp"
#include "models/base/random.hpp"
#include "sim/estimate/estimate.hpp"
#include "sim/read/scenario.hpp"
#include "sim/run/simulate.hpp"
#include "tests/support/drawn.hpp"

using namespace moesim;
using namespace moesim::testing;

namespace {

/// A scenario whose passes do not overlap, on several pipeline ranks with even loads, or nothing where the
/// parts do not fit. On one switch nobody but a device's own communication is on its links.
std::optional<Scenario> drawn_pipeline(std::uint64_t number) {
  RandomStream random = Random(16).stream("sizes", number);
  const auto one_of = [&](const std::vector<std::string>& words) {
    return words[static_cast<std::size_t>(random.below(words.size()))];
  };
  const auto power = [&](std::uint64_t most) { return std::int64_t{1} << random.below(most + 1); };
  const std::int64_t pipeline = 2 * power(2), tensor = power(2), context = power(1), data = power(2);
  Drawn drawn = draw(Random(16).stream("pipeline", number));
  drawn.devices = pipeline * tensor * context * data;
  drawn.topology =
      fmt::format(R"({{"kind": "nvswitch", "nvlink_rate": "{} GB/s", "nvlink_latency": "{} us"}})",
                  one_of({"20", "300"}), one_of({"1", "20"}));
  const bool divides_tokens = random.below(2) == 0;  // else a tensor group shares experts, too
  drawn.parallelism = fmt::format(
      R"({{"pipeline": {}, "tensor": {}, "context": {}, "expert": {}, "expert_tensor": {},
          "sequence_parallel": {}}})",
      pipeline, tensor, context, power(2), divides_tokens ? power(1) : tensor, divides_tokens);
  drawn.batch = fmt::format(R"({{"sequences": {}, "sequence_length": 1024}})",
                            data * pipeline * (random.below(2) == 0 ? 1 : 4));
  drawn.schedule = fmt::format(R"({{"kind": "{}"}})", one_of({"1f1b", "gpipe"}));
  drawn.engine = R"({"kind": "fluid"})";
  drawn.routing = R"({"kind": "balanced"})";
  drawn.gradient_sync = R"({"kind": "zero1"})";
  try {
    Value document = load_document_text(drawn.text(), MOESIM_SOURCE "/drawn.json");
    for (const std::string& set :
         {fmt::format("model.layers={}", 4 * pipeline), std::string("model.moe.experts=16"),
          "collectives.stage_sends=" + one_of({"whole", "scattered"}),
          "cluster.device.spread=" + one_of({"0", "0.03"}),
          "recompute=" + one_of({R"([])", R"(["full"])", R"(["norm", "activation"])"})})
      apply_override(document, parse_override(set));
    return read_scenario(document);
  } catch (const InputError&) {
    return std::nullopt;
  }
}

double estimated_step(const Scenario& scenario, Scenario base) {
  CostTables tables(std::move(base), Sizing::exact);
  const Division division{scenario.layout.sizes(), scenario.layout.placement()};
  const DivisionGroups groups = tables.groups(division);
  const MicrobatchCost cost =
      tables.cost(division, groups, scenario.batch.microbatch, {{}, scenario.recompute}, 0);
  const PipelineProfile profile =
      profile_of(*scenario.schedule, scenario.layout.sizes().pipeline, scenario.microbatches());
  PipelineEstimate estimate(tables, cost, profile,
                            stage_costs(cost, tables.kind_of_layer(), scenario.layers_per_stage));
  return estimate.seconds({scenario.gradient_sync, groups, update_seconds(tables.scenario())});
}

}  // namespace

TEST_CASE("With exact prices the estimate of a step over pipeline ranks is within bounds of the engines'") {
  std::size_t tried = 0, scattered = 0, paced = 0;
  double sum = 0;
  for (std::uint64_t number = 0; number < 400; ++number) {
    const std::optional<Scenario> scenario = drawn_pipeline(number);
    if (!scenario) continue;
    const Sizes sizes = scenario->layout.sizes();
    CAPTURE(number, sizes.pipeline, sizes.tensor, sizes.context, sizes.expert, sizes.data);
    const double simulated = to_seconds(simulate_step(*scenario).report.step_time);
    const double error = estimated_step(*scenario, std::move(*drawn_pipeline(number))) / simulated - 1;
    CHECK(std::abs(error) < 0.07);
    sum += std::abs(error);
    ++tried;
    scattered += scatters_sends(*scenario) ? 1 : 0;
    paced += paces_of(*scenario).front() > 1 ? 1 : 0;
  }
  CHECK(tried > 200);
  CHECK(scattered > 30);
  CHECK(paced > 80);
  CHECK(sum < 0.008 * static_cast<double>(tried));
}
