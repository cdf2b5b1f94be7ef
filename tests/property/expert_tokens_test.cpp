// Laws of what experts compute: no token is lost or doubled on its way, under any layout that is accepted,
// and the report measures it in one way.
#include <fmt/format.h>

#include <catch2/catch.hpp>
#include <numeric>

#include "models/base/error.hpp"
#include "models/base/random.hpp"
#include "sim/read/scenario.hpp"
#include "sim/run/simulate.hpp"
#include "sim/work/holdings.hpp"
#include "sim/work/share.hpp"

using namespace moesim;

namespace {

constexpr std::int64_t length = 256, microbatch = 2, moe_layer = 1;

/// Sizes of a run on one node.
struct Case {
  std::int64_t devices = 1, pipeline = 1, tensor = 1, context = 1, expert = 1, expert_tensor = 1;
  bool sequence_parallel = true;
  std::int64_t experts = 8, top_k = 2, redundant = 0;
  std::string routing = R"("kind": "balanced")";
  const char* resolution = "folded";
};

std::string words(const Case& c) {
  return fmt::format(
      "{} devices, pipeline {}, tensor {}, context {}, expert {}, expert_tensor {}, sequence_parallel {}, "
      "{} experts + {}, top-{}, {}, {}",
      c.devices, c.pipeline, c.tensor, c.context, c.expert, c.expert_tensor, c.sequence_parallel, c.experts,
      c.redundant, c.top_k, c.routing, c.resolution);
}

/// A dense layer and one with experts, twice.
Scenario scenario_of(const Case& c) {
  const std::string text = fmt::format(
      R"({{"model": {{"name": "small", "hidden": 512, "vocabulary": 1024, "layers": 4, "moe_every": 2,
            "attention": {{"kind": "multi_head", "heads": 8}},
            "feed_forward": {{"kind": "swiglu", "width": 1024}},
            "moe": {{"experts": {}, "top_k": {}, "width": 256}}}},
          "software": {{"kind": "ideal"}},
          "cluster": {{"name": "node", "device": "configs/devices/h100.json", "devices": {},
            "topology": {{"kind": "rail_fat_tree", "levels": 2, "devices_per_node": {},
              "nvlink_rate": "400 GB/s", "nic_rate": "50 GB/s"}}}},
          "batch": {{"sequences": {}, "sequence_length": {}, "microbatch": {}}},
          "parallelism": {{"pipeline": {}, "tensor": {}, "context": {}, "expert": {}, "expert_tensor": {},
            "sequence_parallel": {}}},
          "routing": {{{} {}}}, "resolution": "{}"}})",
      c.experts, c.top_k, c.devices, c.devices, 4 * microbatch * c.devices, length, microbatch, c.pipeline,
      c.tensor, c.context, c.expert, c.expert_tensor, c.sequence_parallel, c.routing,
      c.redundant > 0 ? fmt::format(R"(, "placement": "balanced", "redundant": {})", c.redundant) : "",
      c.resolution);
  return read_scenario(load_document_text(text, MOESIM_SOURCE "/tokens.json"));
}

/// Any product of sizes; experts that divide by ranks, or not but with copies.
Case random_case(RandomStream& random) {
  const auto one_of = [&](std::initializer_list<std::int64_t> choices) {
    return choices.begin()[random.below(choices.size())];
  };
  Case c{.pipeline = one_of({1, 2}),
         .tensor = one_of({1, 1, 2, 4}),
         .context = one_of({1, 1, 2}),
         .expert = one_of({1, 2, 4, 8}),
         .expert_tensor = one_of({1, 2, 4})};
  c.devices = c.pipeline * c.tensor * c.context * one_of({1, 2, 4, 8});
  c.sequence_parallel = random.below(2) == 0;
  c.experts = one_of({8, 12, 16, 20});
  c.top_k = one_of({1, 2, 3});
  switch (random.below(3)) {
    case 0:
      break;
    case 1:
      c.routing = R"("kind": "top_k", "skew": {"kind": "zipf", "exponent": 0.8})";
      c.redundant = (c.expert - c.experts % c.expert) % c.expert + c.expert * one_of({0, 1});
      break;
    default:
      c.top_k = 1;
      c.routing = fmt::format(
          R"("kind": "switch", "capacity_factor": {}, "skew": {{"kind": "zipf", "exponent": 0.8}})",
          one_of({1, 2, 100}));
  }
  c.resolution = random.below(2) == 0 ? "folded" : "full";
  return c;
}

/// Rows of the experts of a layer and microbatch over all devices of a pipeline rank: whole rows, each of
/// them computed by the ranks that share an expert together.
std::int64_t rows_over_ranks(const Work& work) {
  const Scenario& scenario = work.scenario;
  const Sizes& sizes = scenario.layout.sizes();
  if (work.loads == nullptr) {
    const std::vector<std::int64_t> rows = expert_rows(scenario, moe_layer);
    return std::accumulate(rows.begin(), rows.end(), std::int64_t{0}) * sizes.stage_devices() /
           sizes.expert_tensor;
  }
  const auto groups = static_cast<std::int64_t>(scenario.layout.expert_groups().size());
  std::int64_t sum = 0;
  for (std::int64_t group = 0; group < groups; ++group) {
    for (std::int64_t rank = 0; rank < sizes.expert; ++rank)
      sum += work.loads->work(work.loads->number_of(moe_layer, 0, group), rank).rows;
  }
  return sum / sizes.expert_tensor;
}

/// Runs what is done with so many random cases that are accepted.
template <class Check>
void for_cases(std::uint64_t seed, int count, Check check) {
  RandomStream random = Random(seed).stream("tokens");
  while (count > 0) {
    const Case c = random_case(random);
    INFO(words(c));
    std::optional<Scenario> scenario;
    try {
      scenario.emplace(scenario_of(c));
    } catch (const InputError&) {
      continue;
    }
    check(c, *scenario);
    --count;
  }
}

}  // namespace

TEST_CASE("Experts compute every token top-k times over all ranks, less drops, plus padding") {
  for_cases(41, 400, [](const Case& c, const Scenario& scenario) {
    const std::int64_t choices = microbatch * length * scenario.layout.sizes().data * c.top_k;
    const auto rows = static_cast<double>(rows_over_ranks(work_of(scenario)));
    const RoutingReport routing = routing_of(work_of(scenario)).value();
    if (routing.padded_row_fraction == 0 && routing.dropped_token_fraction == 0) {
      REQUIRE(rows == static_cast<double>(choices));
    } else {
      REQUIRE(rows * (1 - routing.padded_row_fraction) ==
              Approx(static_cast<double>(choices) * (1 - routing.dropped_token_fraction)).epsilon(1e-9));
    }
  });
}

TEST_CASE("FLOPs of experts over all devices are those of their tokens, where loads are even") {
  for_cases(42, 200, [](const Case& c, const Scenario& scenario) {
    if (has_uneven_loads(scenario) || padded_capacity(scenario, moe_layer) > 0) return;
    double each = 0;
    for (const Op& op : ops_of_layer(scenario, moe_layer).feed_forward.forward) {
      if (op.kind == OpKind::grouped_gemm) each += op.flops.count;
    }
    const Sizes& sizes = scenario.layout.sizes();
    const auto choices = static_cast<double>(microbatch * length * sizes.data * c.top_k);
    REQUIRE(each * static_cast<double>(sizes.stage_devices()) == Approx(choices * 2 * 3 * 512 * 256));
  });
}

TEST_CASE("Tokens of an expert are at least the least, at most the most, and their mean is all of them") {
  for_cases(43, 300, [](const Case& c, const Scenario& scenario) {
    const RoutingReport routing = routing_of(work_of(scenario)).value();
    CHECK(static_cast<double>(routing.least) <= routing.mean);
    CHECK(routing.mean <= static_cast<double>(routing.most));
    if (c.redundant > 0) return;  // of an expert over its copies
    const Sizes& sizes = scenario.layout.sizes();
    const auto kept = static_cast<double>(microbatch * length * sizes.data * c.top_k) *
                      (1 - routing.dropped_token_fraction);
    // So many experts stand on the devices of a pipeline rank, each over expert_tensor ranks.
    const auto instances = static_cast<double>(c.experts * sizes.expert_data());
    CHECK(routing.mean * instances == Approx(kept).epsilon(1e-9));
  });
}

TEST_CASE("Slots that are not whole experts a rank hold all experts and their copies") {
  const Case c{.devices = 8,
               .expert = 8,
               .experts = 12,
               .redundant = 4,
               .routing = R"("kind": "top_k", "skew": {"kind": "zipf", "exponent": 0.8})"};
  const Scenario scenario = scenario_of(c);
  CHECK(scenario.slots_per_rank(scenario.model.layers[moe_layer].experts) == 2);
  CHECK(feed_forward_holdings(scenario, moe_layer).experts() == 2 * 3 * 512 * 256);
  CHECK(simulate(scenario).report.step_time.count > 0);
  Case refused = c;
  refused.redundant = 3;
  CHECK_THROWS_WITH(scenario_of(refused),
                    Catch::Contains("routing.redundant: 12 experts + 3 redundant = 15 slots do not divide"));
  refused.redundant = 0;
  CHECK_THROWS_WITH(scenario_of(refused), Catch::Contains("12 experts do not divide by expert 8"));
}

TEST_CASE("Without tensor parallelism sequence parallelism changes nothing") {
  for_cases(44, 60, [](const Case& c, const Scenario& scenario) {
    if (c.tensor > 1) return;
    Case other = c;
    other.sequence_parallel = !c.sequence_parallel;
    const Report report = simulate(scenario).report;
    CHECK(report.fingerprint == simulate(scenario_of(other)).report.fingerprint);
    CHECK(report.memory_peak() == simulate(scenario_of(other)).report.memory_peak());
    CHECK(report.mfu() <= 1);
  });
}
