// Tokens that are gathered on every rank of an expert group, and results that are added up where they belong:
// what links carry, whatever the routing, and what experts compute, which is as in an all-to-all.
#include <fmt/format.h>

#include <catch2/catch.hpp>
#include <optional>

#include "models/base/error.hpp"
#include "sim/estimate/costs.hpp"
#include "sim/estimate/estimate.hpp"
#include "sim/read/scenario.hpp"
#include "sim/run/simulate.hpp"
#include "sim/work/share.hpp"
#include "tests/support/drawn.hpp"

using namespace moesim;

namespace {

constexpr std::int64_t tokens = 2048, hidden = 1024, layers = 4, experts = 8, top_k = 2, ranks = 8;

struct Case {
  std::int64_t expert = 4, expert_tensor = 1, tensor = 1, microbatches = 2;
  std::string way = "all_gather", software = R"({"kind": "ideal"})", more = "";
};

std::string text_of(const Case& c) {
  return fmt::format(
      R"({{"model": {{"extends": "configs/models/tiny.json", "layers": {}, "moe": {{"experts": {}}}}},
          "cluster": {{"name": "node", "device": {{"extends": "configs/devices/h100.json", "spread": 0}},
            "devices": {}, "topology": {{"kind": "nvswitch", "nvlink_rate": "450 GB/s"}}}},
          "batch": {{"sequences": {}, "sequence_length": {}}}, "software": {},
          "parallelism": {{"expert": {}, "expert_tensor": {}, "tensor": {}}},
          "collectives": {{"token_exchange": "{}"{}}}}})",
      layers, experts, ranks, ranks / c.tensor * c.microbatches, tokens, c.software, c.expert,
      c.expert_tensor, c.tensor, c.way, c.more);
}

Scenario read(const std::string& text, std::vector<std::string> sets = {}) {
  std::vector<Override> overrides;
  for (const std::string& set : sets) overrides.push_back(parse_override(set));
  return read_scenario(load_document_text(text, MOESIM_SOURCE "/scenarios/case.json", overrides));
}
Report report_of(const Case& c, std::vector<std::string> sets = {}) {
  return simulate(read(text_of(c), std::move(sets))).report;
}

const CommunicationReport& phase(const Report& report, Activity activity) {
  return report.communications[static_cast<std::size_t>(activity)];
}

constexpr Activity exchanges[] = {Activity::dispatch, Activity::combine, Activity::dispatch_backward,
                                  Activity::combine_backward};

}  // namespace

TEST_CASE("Gathered tokens go to every other rank of the group, with their weights for every expert") {
  const Case c{};
  const Report report = report_of(c);
  const std::int64_t sent = layers * c.microbatches * ranks * (c.expert - 1) * tokens;
  CHECK(phase(report, Activity::dispatch).bytes == sent * (2 * hidden + 5 * experts));
  CHECK(phase(report, Activity::combine).bytes == sent * 2 * hidden);
  CHECK(phase(report, Activity::combine_backward).bytes == sent * 2 * hidden);
  CHECK(phase(report, Activity::dispatch_backward).bytes == sent * (2 * hidden + 4 * experts));
}

TEST_CASE("An all-to-all sends less as long as a token has fewer experts than the group has ranks") {
  for (const std::int64_t expert : {2, 4, 8}) {
    const Case gathers{.expert = expert}, sends{.expert = expert, .way = "all_to_all"};
    const std::int64_t gathered = phase(report_of(gathers), Activity::combine).bytes;
    const std::int64_t sent = phase(report_of(sends), Activity::combine).bytes;
    CAPTURE(expert);
    CHECK(gathered * top_k == sent * expert);
  }
}

TEST_CASE("Where everybody gets everything, it does not matter which experts tokens go to") {
  const Report even = report_of({}),
               skewed = report_of({}, {"routing.kind=top_k", "routing.skew.kind=zipf", "routing.seed=3"});
  for (const Activity exchange : exchanges)
    CHECK(phase(even, exchange).bytes == phase(skewed, exchange).bytes);
  CHECK(skewed.step_time > even.step_time);  // for one rank has more to compute
}

TEST_CASE("Ranks that share the matrices of experts gather tokens, not rows") {
  const Case c{.expert = 2, .expert_tensor = 2, .tensor = 2};
  const std::int64_t all = tokens / c.tensor * c.expert * c.expert_tensor;
  const std::int64_t calls = layers * c.microbatches * ranks;
  // Gathered before and added up behind experts, forward and backward: a rank sends half of all to the other.
  CHECK(phase(report_of(c), Activity::expert_tensor).bytes == 4 * calls * all * hidden * 2 / 2);
}

TEST_CASE("Experts compute the same rows, and each of them is brought here instead of at its source") {
  const Scenario gathers = read(text_of({})), sends = read(text_of({.way = "all_to_all"}));
  const LayerOps of_gathered = ops_of_layer(gathers, 0), of_sent = ops_of_layer(sends, 0);
  CHECK(total_flops(of_gathered.feed_forward.forward) == total_flops(of_sent.feed_forward.forward));
  const std::int64_t rows = tokens * top_k, all = tokens * gathers.layout.sizes().expert;
  const auto bytes = [](const std::vector<Op>& ops, Module module) {
    std::int64_t sum = 0;
    for (const Op& op : ops) sum += op.module == module ? op.bytes.count : 0;
    return sum;
  };
  CHECK(bytes(of_gathered.attention.forward, Module::permute) == 0);
  CHECK(bytes(of_gathered.feed_forward.forward, Module::unpermute) == 0);
  // Rows read and written, then read again and added to all tokens; backward the other way.
  const std::int64_t moved = (2 * rows + rows + all) * hidden * 2;
  CHECK(bytes(of_gathered.feed_forward.forward, Module::sort) == moved);
  CHECK(bytes(of_gathered.feed_forward.backward_input, Module::sort) == moved);
}

TEST_CASE("Buffers have room for all tokens of the group twice") {
  const auto buffers = [](std::int64_t length) {
    const Case c{.software = R"({"kind": "megatron_core", "moe_token_dispatcher_type": "allgather"})"};
    return report_of(c, {fmt::format("batch.sequence_length={}", length)}).memory.front().channels.count;
  };
  CHECK(buffers(2 * tokens) - buffers(tokens) == 2 * tokens * Case{}.expert * hidden * 2);
}

TEST_CASE("An estimate of gathered tokens is what the engine makes of them") {
  for (const Case& c : {Case{.microbatches = 1}, Case{.expert = 8, .microbatches = 1},
                        Case{.expert = 2, .expert_tensor = 2, .tensor = 2, .microbatches = 1}}) {
    const auto estimated = [](const Case& of) {
      const Scenario scenario = read(text_of(of));
      CostTables tables(read(text_of(of)), Sizing::exact);
      const Division division{scenario.layout.sizes(), scenario.layout.placement()};
      const DivisionGroups groups = tables.groups(division);
      const MicrobatchCost cost = tables.cost(division, groups, 1, {{}, scenario.recompute}, 0);
      const LayerCost stage =
          stage_costs(cost, tables.kind_of_layer(), scenario.layers_per_stage).costs.front();
      return stage.in(Pass::forward) + stage.in(Pass::backward);
    };
    Case other = c;
    other.way = "all_to_all";
    CAPTURE(c.expert, c.expert_tensor);
    CHECK(estimated(c) - estimated(other) == report_of(c).step_time - report_of(other).step_time);
  }
}

TEST_CASE("Folded and full runs gather the same tokens") {
  int compared = 0;
  for (std::uint64_t number = 0; number < 60; ++number) {
    testing::Drawn drawn = testing::draw(Random(22).stream("gathered", number));
    const auto run = [&](const char* resolution) -> std::optional<Report> {
      drawn.resolution = resolution;
      try {
        Scenario scenario = read(drawn.text(), {"collectives={\"token_exchange\": \"all_gather\"}"});
        if (scenario.layout.sizes().expert == 1) return std::nullopt;
        return simulate(std::move(scenario)).report;
      } catch (const InputError&) {
        return std::nullopt;
      }
    };
    const std::optional<Report> folded = run("folded");
    if (!folded) continue;
    CAPTURE(drawn.text());
    const Report full = *run("full");
    const std::int64_t apart = std::abs(folded->step_time.count - full.step_time.count);
    CHECK(apart <= std::max<std::int64_t>(3, full.step_time.count / 10'000'000));
    CHECK(phase(*folded, Activity::dispatch).bytes == phase(full, Activity::dispatch).bytes);
    ++compared;
  }
  CHECK(compared > 15);
}

TEST_CASE("Ways to exchange tokens that are not the software's are refused with their key") {
  const auto said = [](const Case& c) -> std::string {
    try {
      static_cast<void>(read(text_of(c)));
      return "";
    } catch (const InputError& error) {
      return error.what();
    }
  };
  using Catch::Matchers::Contains;
  CHECK_THAT(said({.way = "broadcast"}), Contains("collectives.token_exchange"));
  CHECK_THAT(said({.software = R"({"kind": "megatron_core"})"}),
             Contains("is 'all_gather', but the software exchanges tokens by 'all_to_all'"));
  CHECK_THAT(said({.way = "all_to_all",
                   .software = R"({"kind": "megatron_core", "moe_token_dispatcher_type": "allgather"})"}),
             Contains("is 'all_to_all', but the software exchanges tokens by 'all_gather'"));
  CHECK_THAT(said({.more = R"(, "experts": {"kind": "deepep"})"}), Contains("'deepep' does no all_gather"));
  CHECK_THAT(said({.software = R"({"kind": "megatron_core", "moe_token_dispatcher_type": "allgather",
                                   "moe_pad_expert_input_to_capacity": true})"}),
             Contains("moe_token_dispatcher_type is allgather"));
}
