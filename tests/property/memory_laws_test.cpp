// What devices hold, against the papers' formulas: activations by the choices of software, what waits for
// weight gradients, copies of the embedding, and what no tensor holds.
#include <fmt/format.h>

#include <catch2/catch.hpp>

#include "sim/collective/collective.hpp"
#include "sim/read/scenario.hpp"
#include "sim/run/simulate.hpp"
#include "sim/schedule/stage.hpp"
#include "sim/search/search.hpp"
#include "sim/work/holdings.hpp"
#include "sim/work/outside.hpp"
#include "sim/work/share.hpp"

using namespace moesim;

namespace {

constexpr std::int64_t sequence = 512, hidden = 1024, heads = 8, microbatch = 2;

constexpr const char* gelu = R"({"kind": "two_matrix", "width": 4096})";
constexpr const char* swiglu = R"({"kind": "swiglu", "width": 2816})";

/// A dense model on one node of A100.
struct Case {
  const char* feed_forward = gelu;
  std::int64_t kv_heads = heads, tensor = 1, pipeline = 1, layers = 8, sequences = 32;
  bool sequence_parallel = true, dropout = true, separate = true;
  const char* more = "";  ///< of the model
  std::string schedule = R"({"kind": "1f1b"})";
  const char* recompute = "none";
};

std::string text_of(const Case& c) {
  return fmt::format(
      R"({{"model": {{"name": "dense", "hidden": {}, "vocabulary": 512, "layers": {}, "norm": "layer_norm",
            "attention": {{"kind": "grouped_query", "heads": {}, "kv_heads": {}}}, "feed_forward": {} {}}},
          "cluster": {{"name": "node", "device": "configs/devices/a100.json", "devices": {},
            "topology": {{"kind": "nvswitch", "nvlink_rate": "300 GB/s"}}}},
          "batch": {{"sequences": {}, "sequence_length": {}, "microbatch": {}}},
          "parallelism": {{"tensor": {}, "pipeline": {}, "sequence_parallel": {}}},
          "schedule": {}, "recompute": "{}", "dropout": {},
          "software": {{"kind": "file", "attention": "{}"}}}})",
      hidden, c.layers, heads, c.kv_heads, c.feed_forward, c.more, c.tensor * c.pipeline, c.sequences,
      sequence, microbatch, c.tensor, c.pipeline, c.sequence_parallel, c.schedule, c.recompute, c.dropout,
      c.separate ? "separate" : "fused");
}

Scenario scenario_of(const Case& c) {
  return read_scenario(load_document_text(text_of(c), MOESIM_SOURCE "/scenarios/case.json"));
}

/// Of one layer.
Kept kept(const Scenario& scenario) {
  const LayerOps ops = ops_of_layer(scenario, 0);
  Kept sum = kept_of(ops.attention);
  sum += kept_of(ops.feed_forward);
  return sum;
}

}  // namespace

TEST_CASE("A GELU layer of separate kernels keeps the bytes of Korthikanti's equations, all of them") {
  // arXiv 2205.05198, equations 1, 2 and 4: s b h (34 + 5 a s / h), divided by t but for 10 of the 34 without
  // sequence parallelism. Without dropout three of the five and two of the 34 are missing.
  constexpr std::int64_t tokens = sequence * microbatch;
  for (const std::int64_t t : {1, 2, 8}) {
    for (const bool sequence_parallel : {false, true}) {
      INFO("tensor " << t << (sequence_parallel ? " with" : " without") << " sequence parallelism");
      Case c{.tensor = t, .pipeline = 1, .sequence_parallel = sequence_parallel};
      const std::int64_t undivided = sequence_parallel ? 0 : 10;
      const std::int64_t linear = tokens * hidden * undivided + tokens * hidden * (34 - undivided) / t;
      const std::int64_t scores = heads * sequence * tokens / t;
      CHECK(kept(scenario_of(c)).for_backward.count == linear + 5 * scores);
      c.dropout = false;
      const std::int64_t masks = 2 * tokens * hidden / (sequence_parallel ? t : 1);
      CHECK(kept(scenario_of(c)).for_backward.count == linear - masks + 2 * scores);
      c.recompute = "attention";
      CHECK(kept(scenario_of(c)).for_backward.count == linear - masks);
    }
  }
}

TEST_CASE(
    "A SwiGLU layer of separate kernels keeps its two halves and their product, and keys for each head") {
  // Beside what a GELU layer keeps outside its feed-forward, 18 s b h + 5 a s^2 b, six bytes of width.
  constexpr std::int64_t tokens = sequence * microbatch;
  for (const std::int64_t kv_heads : {8, 2}) {
    const Case c{.feed_forward = swiglu, .kv_heads = kv_heads};
    CHECK(kept(scenario_of(c)).for_backward.count ==
          tokens * (18 * hidden + 6 * 2816) + 5 * heads * sequence * tokens);
  }
}

TEST_CASE("Between B and W a layer keeps what its weight products read, inputs and gradients of outputs") {
  // 32 s b h of a GPT layer: arXiv 2401.10241, table 1.
  constexpr std::int64_t tokens = sequence * microbatch;
  for (const char* recompute : {"none", "norm", "attention", "activation", "full"}) {
    INFO(recompute);
    CHECK(kept(scenario_of({.recompute = recompute})).for_weight.count == 32 * tokens * hidden);
  }
  for (const char* feed_forward : {gelu, swiglu}) {
    const Scenario scenario = scenario_of({.feed_forward = feed_forward, .kv_heads = 2});
    const LayerOps ops = ops_of_layer(scenario, 0);
    std::int64_t read = 0;
    for (const BlockOps* block : {&ops.attention, &ops.feed_forward}) {
      for (const Op& op : block->backward_weight) read += 2 * op.k * (op.m + op.n);
    }
    CHECK(kept(scenario).for_weight.count == read);
  }
}

TEST_CASE("Under ZB-H1 activations fall from rank to rank as microbatches wait for their weight gradients") {
  // Rank i of p, counted from 0, holds (p - i) M_B + i M_W: arXiv 2401.10241, table 2.
  constexpr std::int64_t p = 8;
  const Scenario scenario = scenario_of({.pipeline = p, .schedule = R"({"kind": "zb_h1"})"});
  const Kept one = kept(scenario);
  CHECK(one.for_weight / one.for_backward == Approx(32.0 / (34 + 5.0 * heads * sequence / hidden)));
  // In the midst of a B the feed-forward has left more for its W than it let go, and attention has not yet.
  const Kept feed_forward = kept_of(ops_of_layer(scenario, 0).feed_forward);
  const Bytes rise = feed_forward.for_weight - feed_forward.for_backward;
  CHECK(rise.count == 3 * sequence * microbatch * hidden);
  const std::vector<MemoryReport> ranks = memory_of_ranks(work_of(scenario));
  for (std::int64_t i = 1; i + 1 < p; ++i) {  // the ends have embedding and head
    CHECK(ranks[static_cast<std::size_t>(i)].activations ==
          one.for_backward * (p - i) + one.for_weight * i + rise);
  }
}

TEST_CASE("No rank of zb_auto holds more activations than its limit, in units of 1F1B's peak") {
  for (const char* recompute : {"none", "attention", "norm"}) {
    for (const double limit : {1.0, 1.4, 2.0}) {
      INFO(recompute << ", limit " << limit);
      const Scenario scenario =
          scenario_of({.pipeline = 4,
                       .schedule = fmt::format(R"({{"kind": "zb_auto", "limit": {}}})", limit),
                       .recompute = recompute});
      const Scenario plain = scenario_of({.pipeline = 4, .recompute = recompute});
      const double most =
          limit * static_cast<double>(kept(plain).for_backward.count * 2 * scenario.layout.sizes().pipeline);
      const std::vector<MemoryReport> ranks = memory_of_ranks(work_of(scenario));
      for (const std::size_t rank : {1, 2}) CHECK(static_cast<double>(ranks[rank].activations.count) <= most);
    }
  }
}

TEST_CASE(
    "The last stage of a model with multi-token prediction or a tied head has a copy of the embedding") {
  constexpr std::int64_t copy = 512 * hidden;
  const auto held = [](const char* schedule, const char* more) {
    const Scenario scenario = scenario_of({.pipeline = 4,
                                           .layers = 16,
                                           .more = more,
                                           .schedule = fmt::format(R"({{"kind": "{}"}})", schedule)});
    std::int64_t sum = 0;
    for (std::int64_t rank = 0; rank < 4; ++rank) sum += holdings(scenario, rank).of(HeldPart::embedding);
    return sum;
  };
  constexpr const char* tied = R"(, "tied_embedding": true)";
  for (const char* schedule : {"1f1b", "zb_h1", "interleaved"}) {
    INFO(schedule);
    CHECK(held(schedule, "") == 2 * copy);
    CHECK(held(schedule, tied) == 2 * copy);
  }
  for (const char* schedule : {"zb_v", "dualpipev"}) {  // first and last stage lie on one rank
    INFO(schedule);
    CHECK(held(schedule, tied) == copy);
  }
  CHECK(held("dualpipe", tied) == 2 * copy);  // each stage is there twice
}

TEST_CASE("DeepSeek-V3's last rank has an embedding beside its head, and whole projections down to latents") {
  const auto v3 = [](const std::vector<std::string>& sets) {
    std::vector<Override> overrides;
    for (const std::string& set : sets) overrides.push_back(parse_override(set));
    return load_scenario(MOESIM_SOURCE "/scenarios/deepseek-v3-h800.json", overrides);
  };
  constexpr std::int64_t embedding = 926'679'040, down = 7168 * (1536 + 512 + 64);
  for (const char* schedule : {"1f1b", "dualpipe"}) {
    const Scenario scenario = v3({fmt::format("schedule.kind={}", schedule)});
    CHECK(holdings(scenario, 15).of(HeldPart::embedding) == 2 * embedding);
  }
  const auto attention = [&](const char* tensor) {
    return attention_holdings(v3({fmt::format("parallelism.tensor={}", tensor)}), 5).of(HeldPart::attention);
  };
  CHECK(attention("1") - attention("2") == (attention("1") - down) / 2);
}

TEST_CASE("Copies of the embedding sum their gradients between the first and the last stage, once a step") {
  constexpr std::int64_t copy = 512 * hidden;
  const auto run = [](const char* schedule, const char* more) {
    return simulate(
               scenario_of(
                   {.pipeline = 4, .more = more, .schedule = fmt::format(R"({{"kind": "{}"}})", schedule)}))
        .report;
  };
  const auto bytes = [&](const char* schedule, const char* more) {
    return run(schedule, more).gradient_parts[static_cast<std::size_t>(HeldPart::embedding)].bytes;
  };
  constexpr const char* tied = R"(, "tied_embedding": true)";
  CHECK(bytes("1f1b", "") == 0);               // one data-parallel rank
  CHECK(bytes("1f1b", tied) == 2 * 4 * copy);  // an all-reduce of two ranks: each sends as much as it has
  CHECK(bytes("zb_v", tied) == 0);
  CHECK(run("1f1b", tied).step_time > run("1f1b", "").step_time);
}

TEST_CASE("The memory that a search estimates is what a run reports") {
  const auto found = [](const char* scenario, std::vector<std::string> sets) {
    SearchRequest request{.path = fmt::format("{}/scenarios/{}.json", MOESIM_SOURCE, scenario),
                          .overrides = {},
                          .simulate = 24,
                          .jobs = 2};
    sets.insert(sets.end(), {"search.context=[1]", "search.microbatch=[1]"});
    for (const std::string& set : sets) request.overrides.push_back(parse_override(set));
    return search(request).result.simulated;
  };
  const auto check = [](const std::vector<FoundPlan>& plans) {
    REQUIRE(plans.size() > 5);
    for (const FoundPlan& plan : plans) {
      INFO(plan.schedule << ", " << plan.gradient_sync << ", pipeline " << plan.sizes.pipeline << ", tensor "
                         << plan.sizes.tensor << ", expert " << plan.sizes.expert);
      const auto reported = static_cast<double>(plan.report->memory_peak().count);
      CHECK(plan.estimated_memory <= 1.0000001 * reported);
      CHECK(plan.estimated_memory > 0.995 * reported);
    }
  };
  for (const char* schedule : {"1f1b", "zb_h1", "zb_h2", "zb_v", "interleaved", "dualpipe"}) {
    check(found("mixtral-8x7b-h100", {"search.pipeline=[2,4]", "search.expert=[8]", "search.tensor=[1,2]",
                                      fmt::format("search.schedule=[\"{}\"]", schedule)}));
  }
  check(found("mixtral-8x7b-h100", {"search.pipeline=[4,8]", "search.expert=[2,8]", "search.tensor=[1]",
                                    "model.tied_embedding=true", "search.schedule=[\"1f1b\",\"zb_v\"]"}));
}

TEST_CASE("What no tensor holds is the driver's part, and a buffer for each channel and neighbour") {
  const auto outside = [](const std::string& parallelism, std::int64_t devices,
                          const std::string& more = "") {
    const std::string text = fmt::format(
        R"({{"model": {{"extends": "configs/models/tiny.json", "layers": 8}},
             "software": {{"kind": "ideal"}},
             "cluster": {{"extends": "configs/clusters/h100-64.json", "devices": {}}},
             "batch": {{"sequences": 64, "sequence_length": 512}}, "parallelism": {} {}}})",
        devices, parallelism, more);
    return outside_tensors(read_scenario(load_document_text(text, MOESIM_SOURCE "/scenarios/case.json")));
  };
  constexpr std::int64_t mib = 1 << 20, one = 12 * mib, channels = 16;
  const OutsideTensors alone = outside_tensors(scenario_of({}));
  CHECK(alone.channels.count == 0);
  CHECK(alone.driver.count == 558345748);  // 0.52 GiB
  // All devices: a tree for small sums. Replicated parameters and experts: a ring each.
  CHECK(outside("{}", 8).channels.count == one * channels * (2 + 1 + 1));
  const std::string all_reduce = R"(, "gradient_sync": {"kind": "all_reduce"})";
  CHECK(outside("{}", 8, all_reduce).channels.count == one * channels * (2 + 3 + 3));
  // Each of three peers of the node: 32 channels. Peers on other nodes share 4 MiB a channel.
  CHECK(outside(R"({"expert": 4})", 8).channels.count == one * (channels * (2 + 1 + 1) + 3 * 32));
  CHECK(outside(R"({"pipeline": 2})", 16).channels.count ==
        one * channels * (2 + 1 + 1) + channels * 4 * mib);
  CHECK(outside(R"({"expert": 4})", 8, R"(, "collectives": {"channels": 8, "peer_channels": 4})")
            .channels.count == one * (8 * (2 + 1 + 1) + 3 * 4));
  // The world's group alone was measured at 0.39 GiB (mlc-ai/pith-train, tools/memory_estimator).
  CHECK(static_cast<double>(one * channels * 2) ==
        Approx(0.39 * 1024 * static_cast<double>(mib)).epsilon(0.05));
}

TEST_CASE("What no tensor holds counts against a device's memory, and no allocator's peak has it") {
  const Report report = simulate(scenario_of({})).report;
  CHECK(report.memory_peak() - report.tensors_peak() == outside_tensors(scenario_of({})).total());
  CHECK(report.memory_capacity == Bytes{81920LL << 20});
}
