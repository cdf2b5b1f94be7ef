// Activations that are in the host's memory from forward to backward: what leaves, what the device has left,
// what links carry, and what it costs where they are slow.
#include <fmt/format.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <optional>

#include "models/base/error.hpp"
#include "sim/estimate/estimate.hpp"
#include "sim/read/scenario.hpp"
#include "sim/run/simulate.hpp"
#include "sim/work/share.hpp"
#include "tests/support/drawn.hpp"

using namespace moesim;

namespace {

constexpr std::int64_t tokens = 2048, hidden = 1024, heads = 8, width = 2048, layers = 8, rows = tokens * 2;

struct Case {
  std::int64_t pipeline = 1, microbatches = 4;
  std::string modules = R"(["expert_fc1", "moe_act"])";
  std::int64_t whole = 0;
  std::string rate = "55 GB/s", schedule = R"({"kind": "1f1b"})", recompute = "[]", more = "";
};

std::string text_of(const Case& c) {
  return fmt::format(
      R"({{"model": {{"extends": "configs/models/tiny.json", "layers": {}}},
          "cluster": {{"name": "node", "device": {{"extends": "configs/devices/h100.json", "spread": 0,
            "host_rate": {}}}, "devices": {}, "topology": {{"kind": "nvswitch", "nvlink_rate": "450 GB/s"}}}},
          "batch": {{"sequences": {}, "sequence_length": {}}}, "software": {{"kind": "ideal"}},
          "parallelism": {{"pipeline": {}}}, "schedule": {}, "recompute": {},
          "offload": {{"modules": {}, "layers": {}, "least_elements": 0}}{}}})",
      layers, c.rate.empty() ? "null" : fmt::format("\"{}\"", c.rate), c.pipeline, c.microbatches, tokens,
      c.pipeline, c.schedule, c.recompute, c.modules, c.whole, c.more);
}

Scenario read(const std::string& text) {
  return read_scenario(load_document_text(text, MOESIM_SOURCE "/scenarios/case.json"));
}
Scenario scenario_of(const Case& c) { return read(text_of(c)); }
Report report_of(const Case& c) { return simulate(scenario_of(c)).report; }

Case without(Case c) {
  c.modules = "[]";
  c.whole = 0;
  return c;
}

/// Of one layer: what its blocks have on the host, and what they keep in all.
struct LayerBytes {
  std::int64_t offloaded = 0, kept = 0;
};
LayerBytes bytes_of(const Case& c) {
  const LayerOps ops = ops_of_layer(scenario_of(c), 0);
  return {(ops.attention.offloaded + ops.feed_forward.offloaded).count,
          (ops.attention.activations + ops.feed_forward.activations).count};
}
std::int64_t offloaded(const std::string& modules, const char* recompute = "[]") {
  return bytes_of({.modules = modules, .recompute = recompute}).offloaded;
}

const CommunicationReport& phase(const Report& report, Activity activity) {
  return report.communications[static_cast<std::size_t>(activity)];
}

}  // namespace

TEST_CASE("What leaves of a layer are the inputs of the modules that are named, to the byte") {
  CHECK(offloaded(R"(["attn_norm"])") == tokens * hidden * 2);
  CHECK(offloaded(R"(["qkv_linear"])") == tokens * hidden * 2);
  CHECK(offloaded(R"(["core_attn"])") == tokens * hidden * 3 * 2 + tokens * heads * 4);
  CHECK(offloaded(R"(["core_attn", "attn_proj"])") == tokens * hidden * 4 * 2 + tokens * heads * 4);
  CHECK(offloaded(R"(["mlp_norm"])") == tokens * hidden * 2);
  CHECK(offloaded(R"(["expert_fc1"])") == rows * hidden * 2);
  CHECK(offloaded(R"(["moe_act"])") == rows * width * 2 * 2);
  // What is computed again was not kept.
  CHECK(offloaded(R"(["qkv_linear"])", R"(["norm"])") == 0);
  CHECK(offloaded(R"(["moe_act"])", R"(["activation"])") == rows * width * 2 * 2);
  const LayerBytes whole = bytes_of({.modules = "[]", .whole = 3});
  CHECK(whole.offloaded == whole.kept);
  const LayerBytes all = bytes_of(
      {.modules =
           R"(["attn_norm", "qkv_linear", "core_attn", "attn_proj", "mlp_norm", "expert_fc1", "moe_act"])"});
  // The router's input and scores stay, and what experts give their second product.
  CHECK(all.kept - all.offloaded == tokens * (hidden * 2 + 4 * 4) + rows * width * 2);
}

TEST_CASE("Tensors below the least size stay") {
  Case c{.modules = R"(["core_attn"])"};
  const std::string text = text_of(c);
  const auto leaves = [&](std::int64_t least) {
    std::string other = text;
    const std::string key = "\"least_elements\": 0";
    other.replace(other.find(key), key.size(), fmt::format("\"least_elements\": {}", least));
    return ops_of_layer(read(other), 0).attention.offloaded.count;
  };
  CHECK(leaves(tokens * heads) - leaves(tokens * heads + 1) == tokens * heads * 4);
  CHECK(leaves(tokens * hidden) == tokens * hidden * 3 * 2);
  CHECK(leaves(tokens * hidden + 1) == 0);
}

TEST_CASE("What leaves comes back, but for the last layer of backwards that nothing lies before") {
  for (const std::int64_t pipeline : {1, 2, 4}) {
    const Case c{.pipeline = pipeline, .microbatches = 8};
    const Report report = report_of(c);
    // 1F1B: of each rank the first backward's last layer stays, of the last rank every microbatch's.
    const std::int64_t stays = pipeline - 1 + c.microbatches;
    const std::int64_t copies = layers * c.microbatches - stays;
    for (const Activity way : {Activity::offload, Activity::reload}) {
      CHECK(phase(report, way).bytes == copies * bytes_of(c).offloaded);
      CHECK(phase(report, way).messages == copies);
    }
  }
}

TEST_CASE("The device keeps what does not leave, and three layers of what does") {
  for (const std::int64_t pipeline : {1, 2, 4}) {
    const Case c{.pipeline = pipeline, .microbatches = 8};
    const Report with = report_of(c), base = report_of(without(c));
    const std::int64_t bytes = bytes_of(c).offloaded;
    for (std::int64_t rank = 0; rank < pipeline; ++rank) {
      const MemoryReport& a = with.memory[static_cast<std::size_t>(rank)];
      const MemoryReport& b = base.memory[static_cast<std::size_t>(rank)];
      CHECK((b.activations - a.activations).count == bytes * layers / pipeline * (pipeline - rank));
      CHECK((a.buffers - b.buffers).count == 3 * bytes);
    }
  }
}

TEST_CASE("Copies that keep up cost nothing, and the slower the link the longer the step") {
  for (const char* schedule : {R"({"kind": "1f1b"})", R"({"kind": "interleaved"})", R"({"kind": "gpipe"})",
                               R"({"kind": "zb_h1"})", R"({"kind": "1f1b", "overlap": true})"}) {
    Case c{.pipeline = 2, .microbatches = 8, .schedule = schedule};
    CAPTURE(schedule);
    const Time base = report_of(without(c)).step_time;
    Time before = base;
    for (const char* rate : {"1000 TB/s", "400 GB/s", "50 GB/s", "10 GB/s"}) {
      c.rate = rate;
      const Report report = report_of(c);
      CAPTURE(rate);
      CHECK(report.step_time >= before);
      const double busy = to_seconds(phase(report, Activity::reload).busy);
      CHECK(to_seconds(report.step_time) >= busy);
      if (std::string_view(rate) == "1000 TB/s")
        CHECK(to_seconds(report.step_time) < to_seconds(base) * 1.001);
      before = report.step_time;
    }
    CHECK(to_seconds(before) > 2 * to_seconds(base));
  }
}

TEST_CASE("A link that carries less than passes bring holds them up for as long as it takes") {
  // Of one rank, and so slow that it never rests within a pass: one layer stays, the others go one by one.
  Case c{.microbatches = 1, .rate = "1 GB/s"};
  const Time copy = Bytes{bytes_of(c).offloaded} / Rate{1e9};
  const Time longer = report_of(c).step_time - report_of(without(c)).step_time;
  CHECK(to_seconds(longer) < to_seconds(copy * (2 * layers - 2)));
  CHECK(to_seconds(longer) > to_seconds(copy * (2 * layers - 5)));
}

TEST_CASE("An estimate is held up by copies as the engine is, to the picosecond") {
  std::size_t held = 0;
  for (const char* modules : {R"(["expert_fc1"])", R"(["core_attn"])", R"(["expert_fc1", "core_attn"])",
                              R"(["attn_norm", "mlp_norm", "moe_act"])"}) {
    for (const char* rate : {"2000 GB/s", "300 GB/s", "150 GB/s", "120 GB/s", "100 GB/s"}) {
      const Case c{.microbatches = 1, .modules = modules, .rate = rate};
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
      CAPTURE(modules, rate);
      const Time longer = estimated(c) - estimated(without(c));
      CHECK(longer == report_of(c).step_time - report_of(without(c)).step_time);
      held += longer > Time{} ? 1 : 0;
    }
  }
  CHECK(held >= 3);
}

TEST_CASE("Folded and full runs make the same copies") {
  int compared = 0;
  for (std::uint64_t number = 0; number < 60; ++number) {
    testing::Drawn drawn = testing::draw(Random(21).stream("offload", number));
    const auto run = [&](const char* resolution) -> std::optional<Report> {
      drawn.resolution = resolution;
      std::string text = drawn.text();
      text.insert(text.rfind('}'), R"(, "offload": {"modules": ["core_attn", "expert_fc1", "moe_act"],
                                        "least_elements": 0})");
      try {
        return simulate(read_scenario(load_document_text(text, MOESIM_SOURCE "/drawn.json"))).report;
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
    for (const Activity way : {Activity::offload, Activity::reload}) {
      CHECK(static_cast<double>(phase(*folded, way).bytes) ==
            Approx(static_cast<double>(phase(full, way).bytes)).epsilon(1e-6));
    }
    CHECK(phase(full, Activity::offload).bytes == phase(full, Activity::reload).bytes);
    ++compared;
  }
  CHECK(compared > 20);
}

TEST_CASE("What cannot leave is refused with its key") {
  const auto said = [](const Case& c) -> std::string {
    try {
      scenario_of(c);
      return "";
    } catch (const InputError& error) {
      return error.what();
    }
  };
  using Catch::Matchers::Contains;
  CHECK_THAT(said({.modules = R"(["attn_proj"])"}), Contains("expected core_attn with it"));
  CHECK_THAT(said({.modules = R"(["fc1"])"}), Contains("unknown 'fc1' (known: attn_norm, qkv_linear"));
  CHECK_THAT(said({.recompute = R"(["experts"])"}), Contains("recompute has experts"));
  CHECK_THAT(said({.recompute = R"(["full"])"}), Contains("recompute has full"));
  CHECK_THAT(said({.modules = R"(["core_attn"])", .recompute = R"(["attention"])"}),
             Contains("recompute has attention"));
  CHECK_THAT(said({.rate = ""}), Contains("offload.modules: is given, but how fast H100 copies"));
  CHECK_THAT(said({.modules = "[]", .whole = layers}), Contains("less than the 8 layers"));
  CHECK_THAT(said({.pipeline = 2, .modules = "[]", .whole = 2}), Contains("parallelism.pipeline is 2"));
  CHECK_THAT(said({.modules = "[]", .whole = 2, .recompute = R"(["norm"])"}), Contains("recompute is given"));
  CHECK_THAT(said({.whole = 2}), Contains("expected 0"));
}
