// Layers that are computed again whole, by their number, and modules under Megatron-Core's names: what they
// keep, what they cost, and that the estimate, the engine and memory agree.
#include <fmt/format.h>

#include <algorithm>
#include <catch2/catch.hpp>

#include "models/base/error.hpp"
#include "sim/estimate/estimate.hpp"
#include "sim/read/scenario.hpp"
#include "sim/report/lifetimes.hpp"
#include "sim/run/simulate.hpp"
#include "sim/search/search.hpp"
#include "sim/work/share.hpp"
#include "tests/support/drawn.hpp"

using namespace moesim;

namespace {

/// Eight layers, of which the first is dense, on one or two pipeline ranks.
struct Case {
  std::string recompute = "[]";
  std::int64_t pipeline = 1, tensor = 1, expert = 1, microbatches = 4;
  std::string schedule = R"({"kind": "1f1b"})", resolution = "folded", dense = "1";
};

Scenario scenario_of(const Case& c) {
  const std::int64_t devices = c.pipeline * std::max(c.tensor, c.expert);
  return read_scenario(
      load_document_text(fmt::format(
                             R"({{"model": {{"name": "small", "hidden": 1024, "vocabulary": 8192, "layers": 8,
                "dense_layers": {}, "feed_forward": {{"kind": "swiglu", "width": 4096}},
                "attention": {{"kind": "latent", "heads": 8, "q_lora_rank": 256, "kv_lora_rank": 128,
                  "nope_head_dim": 64, "rope_head_dim": 32, "value_head_dim": 64}},
                "moe": {{"experts": 8, "top_k": 2, "width": 512, "shared_experts": 1}}}},
              "cluster": {{"name": "node", "device": {{"extends": "configs/devices/h100.json", "spread": 0}},
                "devices": {}, "topology": {{"kind": "nvswitch", "nvlink_rate": "450 GB/s"}}}},
              "batch": {{"sequences": {}, "sequence_length": 1024}}, "software": {{"kind": "ideal"}},
              "parallelism": {{"pipeline": {}, "tensor": {}, "expert": {}}}, "schedule": {},
              "resolution": "{}", "recompute": {}}})",
                             c.dense, devices, c.microbatches * devices / c.pipeline / c.tensor, c.pipeline,
                             c.tensor, c.expert, c.schedule, c.resolution, c.recompute),
                         MOESIM_SOURCE "/scenarios/case.json"));
}

Report report_of(const Case& c) { return simulate(scenario_of(c)).report; }

Bytes activations(const Case& c) { return memory_of_ranks(work_of(scenario_of(c))).front().activations; }

Bytes kept(const Scenario& scenario, std::size_t layer) {
  const LayerOps ops = ops_of_layer(scenario, layer);
  return ops.attention.activations + ops.feed_forward.activations;
}

std::int64_t forward_ops(const std::vector<Op>& ops) {
  return std::count_if(ops.begin(), ops.end(), [](const Op& op) { return op.pass == OpPass::forward; });
}

const std::vector<std::string> by_layers{R"(["block=1"])", R"(["block=3"])", R"(["uniform=1"])",
                                         R"(["uniform=2"])", R"(["uniform=3"])"};
const std::vector<std::string> by_modules{R"(["layernorm"])",
                                          R"(["moe_act"])",
                                          R"(["moe"])",
                                          R"(["moe", "layernorm", "mlp"])",
                                          R"(["shared_experts"])",
                                          R"(["mlp"])",
                                          R"(["core_attn", "mla_up_proj"])"};

std::vector<std::string> all_choices() {
  std::vector<std::string> all = by_layers;
  all.insert(all.end(), by_modules.begin(), by_modules.end());
  return all;
}

}  // namespace

TEST_CASE("All layers of a stage by their number are whole layers, and so are spans of one layer") {
  for (const std::int64_t pipeline : {1, 2}) {
    const Case full{.recompute = R"("full")", .pipeline = pipeline};
    for (const std::string& same :
         {std::string(R"(["uniform=1"])"), fmt::format(R"(["block={}"])", 8 / pipeline),
          std::string(R"({"granularity": "full", "method": "uniform", "layers": 1})")}) {
      const Case c{.recompute = same, .pipeline = pipeline};
      CAPTURE(same);
      CHECK(report_of(c).fingerprint == report_of(full).fingerprint);
      CHECK(activations(c) == activations(full));
    }
  }
}

TEST_CASE("Each layer that is computed again takes its forward once more, and keeps its input alone") {
  const std::int64_t input = 2 * 1024 * 1024;
  for (std::int64_t layers = 1; layers < 8; ++layers) {
    const Case more{.recompute = fmt::format(R"(["block={}"])", layers + 1)},
        less{.recompute = fmt::format(R"(["block={}"])", layers)};
    CAPTURE(layers);
    const Scenario scenario = scenario_of(less);
    const auto number = static_cast<std::size_t>(layers);
    CHECK(kept(scenario, number - 1).count == input);
    CHECK(activations(less) - activations(more) == kept(scenario, number) - Bytes{input});
    const WorkTimes times(scenario, nullptr);
    const LayerTimes& layer = times.layer(layers);
    const Time forward =
        layer.attention.in(OpPass::forward).time + layer.feed_forward.in(OpPass::forward).time;
    CHECK(report_of(more).step_time - report_of(less).step_time == forward * 4);
  }
}

TEST_CASE("Spans keep the input of their first layer, and hold the others while the last goes backward") {
  const Case none, spans{.recompute = R"(["uniform=4"])"}, full{.recompute = R"("full")"};
  const Scenario scenario = scenario_of(spans), plain = scenario_of(none);
  const Bytes input{2 * 1024 * 1024};
  for (const std::size_t layer : {0, 4}) CHECK(kept(scenario, layer) == input);
  for (const std::size_t layer : {1, 3, 7}) CHECK(kept(scenario, layer) == Bytes{});
  // The head goes first; of each span the last layer is the one that is computed, as everywhere.
  const auto held = [&](std::initializer_list<std::size_t> layers) {
    Bytes sum;
    for (const std::size_t layer : layers) sum += kept(plain, layer);
    return sum;
  };
  const Bytes head = kept_by_head(scenario).for_backward;
  const Bytes second = held({4, 5, 6}) - input - head, first = held({0, 1, 2}) - input - input - head;
  const Bytes at_loss = input * 2 + kept_by_embedding(scenario).for_backward + head;
  CHECK(activations(spans) == at_loss + std::max({Bytes{}, second, first}));
  CHECK(report_of(spans).step_time == report_of(full).step_time);
}

TEST_CASE("Modules run again what they have, and keep no more than what they are computed from") {
  const Scenario none = scenario_of({});
  const LayerOps dense = ops_of_layer(none, 0), moe = ops_of_layer(none, 1);
  const auto with = [](const std::string& recompute, std::size_t layer) {
    return ops_of_layer(scenario_of({.recompute = recompute}), layer);
  };
  // All but the sum with the residual stream; of experts the router and the permutation before them, too.
  const LayerOps mlp = with(R"(["mlp"])", 0), all = with(R"(["moe"])", 1);
  CHECK(forward_ops(mlp.feed_forward.backward_input) == std::ssize(dense.feed_forward.forward) - 1);
  CHECK(mlp.feed_forward.activations == Bytes{});
  const auto routing = std::count_if(
      moe.attention.forward.begin(), moe.attention.forward.end(),
      [](const Op& op) { return op.part == LayerPart::router || op.part == LayerPart::dispatch; });
  CHECK(routing == 3);
  CHECK(forward_ops(all.feed_forward.backward_input) == std::ssize(moe.feed_forward.forward) - 1 + routing);
  CHECK(all.feed_forward.activations == Bytes{});
  CHECK(moe.attention.activations - all.attention.activations == Bytes{4 * 1024 * 8});  // scores in fp32
  const LayerOps parts = with(R"(["moe", "moe_act", "shared_experts"])", 1);
  CHECK(forward_ops(parts.feed_forward.backward_input) == forward_ops(all.feed_forward.backward_input));
  // The names of other layers change nothing.
  CHECK(forward_ops(with(R"(["mlp"])", 1).feed_forward.backward_input) == 0);
  CHECK(forward_ops(with(R"(["moe", "moe_act"])", 0).feed_forward.backward_input) == 0);
  // Of shared experts two products and an activation.
  const LayerOps shared = with(R"(["shared_experts"])", 1);
  CHECK(forward_ops(shared.feed_forward.backward_input) == 3);
  CHECK(moe.feed_forward.activations - shared.feed_forward.activations == Bytes{1024 * 512 * 3 * 2});
  const LayerOps activation = with(R"(["moe_act"])", 1);
  CHECK(forward_ops(activation.feed_forward.backward_input) == 1);
  CHECK(moe.feed_forward.activations - activation.feed_forward.activations == Bytes{2 * 1024 * 512 * 2});
  // Norms of the stream, of which the feed-forward's runs in its block; latents keep theirs.
  const LayerOps norms = with(R"(["layernorm"])", 1), every = with(R"(["norm"])", 1);
  CHECK(moe.attention.activations - norms.attention.activations == Bytes{2 * 1024 * 1024 * 2});
  CHECK(norms.attention.activations - every.attention.activations == Bytes{1024 * (256 + 128) * 2});
  CHECK(with(R"(["core_attn", "mla_up_proj"])", 1).attention.activations ==
        with(R"(["attention", "latent"])", 1).attention.activations);
}

TEST_CASE("Whatever is computed again, one rank stands for all that are alike, to the picosecond") {
  for (const std::string& recompute : all_choices()) {
    Case c{.recompute = recompute, .pipeline = 2, .tensor = 2, .expert = 2};
    CAPTURE(recompute);
    const Report folded = report_of(c);
    c.resolution = "full";
    const Report full = report_of(c);
    CHECK(folded.step_time == full.step_time);
    CHECK(folded.breakdown.compute == full.breakdown.compute);
  }
}

TEST_CASE("An estimate's memory is that of a run whatever is computed again, to the byte") {
  std::vector<std::string> choices = all_choices();
  for (const std::string schedule : {"1f1b", "gpipe", "zb_h1", "interleaved", "dualpipev"}) {
    for (const std::string& recompute : choices) {
      // Of ranks with several stages the estimate leaves out what spans hold.
      if (recompute.find("uniform") != std::string::npos && (schedule[0] == 'i' || schedule[0] == 'd'))
        continue;
      const Case c{
          .recompute = recompute == R"(["block=3"])" && schedule[0] != '1' ? R"(["block=2"])" : recompute,
          .pipeline = 2,
          .expert = 2,
          .microbatches = 8,
          .schedule = fmt::format(R"({{"kind": "{}"}})", schedule)};
      if (recompute.find('3') != std::string::npos && recompute.find("uniform") != std::string::npos &&
          schedule == "zb_h1")
        continue;
      CAPTURE(schedule, c.recompute);
      const Scenario scenario = scenario_of(c);
      CostTables tables(scenario_of(c));
      const Division division{scenario.layout.sizes(), scenario.layout.placement()};
      const DivisionGroups groups = tables.groups(division);
      const MicrobatchCost cost =
          tables.cost(division, groups, scenario.batch.microbatch, {{}, scenario.recompute}, 0);
      const PipelineProfile profile = profile_of(*scenario.schedule, 2, scenario.microbatches());
      PipelineEstimate estimate(tables, cost, profile,
                                stage_costs(cost, tables.kind_of_layer(), scenario.layers_per_stage));
      Bytes most;
      for (const MemoryReport& rank : memory_of_ranks(work_of(scenario))) most = std::max(most, rank.total());
      CHECK(estimate.memory({scenario.gradient_sync, groups, {}}) == static_cast<double>(most.count));
    }
  }
}

TEST_CASE("What layers that are computed again keep they let go, and never less than nothing is held") {
  for (const std::string& recompute : all_choices()) {
    for (const std::string schedule : {"1f1b", "zb_h1", "interleaved"}) {
      if (schedule == "interleaved" && recompute.find('3') != std::string::npos) continue;
      const Scenario scenario = scenario_of({.recompute = recompute,
                                             .pipeline = 2,
                                             .microbatches = 8,
                                             .schedule = fmt::format(R"({{"kind": "{}"}})", schedule)});
      CAPTURE(recompute, schedule);
      const Work work = work_of(scenario);
      const Lifetimes lifetimes(work);
      for (const std::int64_t rank : {0, 1}) {
        Bytes alive, most, least;
        for (const HeldChange& change : lifetimes.changes(rank, {})) {
          alive += change.bytes;
          most = std::max(most, alive);
          least = std::min(least, alive);
        }
        CHECK(alive == Bytes{});
        CHECK(least == Bytes{});
        CHECK(most == lifetimes.most(rank).bytes);
      }
    }
  }
}

TEST_CASE("Where memory is short a search takes as many layers as it must") {
  const std::string path = MOESIM_SOURCE "/scenarios/two-gpus.json";
  const auto best = [&](const std::string& limit) {
    SearchRequest request{.path = path, .overrides = {}, .simulate = 1, .jobs = 1};
    for (const std::string& set :
         {std::string("model.layers=8"), std::string("batch.sequence_length=8192"),
          std::string(
              R"(search={"recompute": ["none", "block=2", "block=4", "full"], "pipeline": [1], )"
              R"("tensor": [1], "context": [1], "expert": [2], "expert_tensor": [1], "microbatch": [1], )"
              R"("gradient_sync": ["zero1"], "schedule": ["1f1b"], "memory_limit": ")") +
              limit + "\"}"})
      request.overrides.push_back(parse_override(set));
    const SearchResult result = search(request).result;
    REQUIRE(!result.simulated.empty());
    const FoundPlan& plan = result.simulated.front();
    REQUIRE(plan.report);
    CHECK(plan.estimated_memory == static_cast<double>(plan.report->memory_peak().count));
    return std::pair(plan.recompute, plan.estimated_memory);
  };
  const auto [none, whole] = best("80 GB");
  CHECK(none == std::vector<std::string>{"none"});
  const auto [block, less] = best(fmt::format("{} B", static_cast<std::int64_t>(whole) - 1));
  CHECK(block == std::vector<std::string>{"block=2"});
  CHECK(less < whole);
  CHECK(best(fmt::format("{} B", static_cast<std::int64_t>(less) - 1)).first ==
        std::vector<std::string>{"block=4"});
}
