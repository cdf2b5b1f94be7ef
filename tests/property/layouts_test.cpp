// Over random small clusters and every way to divide a model: one rank for its peers is exact, what devices
// hold adds up to the model, and what they keep and send follows the sizes.
#include <fmt/format.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <numeric>

#include "models/base/error.hpp"
#include "models/base/random.hpp"
#include "sim/read/scenario.hpp"
#include "sim/run/simulate.hpp"
#include "sim/work/holdings.hpp"
#include "sim/work/work_times.hpp"

using namespace moesim;

namespace {

constexpr const char* rail_fat_tree = R"("kind": "rail_fat_tree", "levels": 2, "nvlink_rate": "400 GB/s")";
constexpr const char* tapered =
    R"("kind": "rail_fat_tree", "nodes_per_pod": 2, "taper": 2, "nvlink_rate": "400 GB/s")";
constexpr const char* planes = R"("kind": "multi_plane", "nodes_per_pod": 2, "nvlink_rate": "400 GB/s")";
constexpr const char* star = R"("kind": "star", "inside": "nvlink", "inside_rate": "400 GB/s")";

/// Sizes of a run on nodes of `per_node` devices.
struct Case {
  std::int64_t per_node = 4, pipeline = 1, tensor = 1, context = 1, data = 1, expert = 1, expert_tensor = 1;
  bool sequence_parallel = true;
  const char* exchange = "ring";
  const char* recompute = "none";
  const char* schedule = "1f1b";
  const char* dispatch = "pairwise";
  const char* gradients = "zero1";
  const char* topology = rail_fat_tree;
  std::string placement = "[]";
  std::int64_t devices() const { return pipeline * tensor * context * data; }
};

std::string words(const Case& c) {
  return fmt::format(
      R"("pipeline": {}, "tensor": {}, "context": {}, "expert": {}, "expert_tensor": {}, "sequence_parallel": {}, )"
      R"("context_exchange": "{}", "placement": {})",
      c.pipeline, c.tensor, c.context, c.expert, c.expert_tensor, c.sequence_parallel, c.exchange,
      c.placement);
}

/// Four layers, every other of them with experts, one of which all tokens share.
Scenario scenario_of(const Case& c, const char* resolution = "folded") {
  const std::string text = fmt::format(
      R"({{"model": {{"name": "small", "hidden": 512, "vocabulary": 1024, "layers": 4, "moe_every": 2,
            "attention": {{"kind": "grouped_query", "heads": 8, "kv_heads": 4, "head_dim": 64}},
            "feed_forward": {{"kind": "swiglu", "width": 1024}},
            "moe": {{"experts": 8, "top_k": 2, "width": 256, "shared_experts": 1}}}},
          "software": {{"kind": "ideal"}},
          "cluster": {{"name": "nodes", "device": "configs/devices/h100.json", "devices": {},
            "topology": {{{}, "devices_per_node": {}, "nic_rate": "50 GB/s"}}}},
          "batch": {{"sequences": {}, "sequence_length": 256}},
          "parallelism": {{{}}},
          "recompute": "{}",
          "schedule": {{"kind": "{}"}},
          "collectives": {{"dispatch": {{"kind": "{}"}}, "communication_sms": 8, "slowed_by_compute": 1.3}},
          "gradient_sync": {{"kind": "{}"}},
          "resolution": "{}"}})",
      c.devices(), c.topology, c.per_node, 4 * c.data, words(c), c.recompute, c.schedule, c.dispatch,
      c.gradients, resolution);
  return read_scenario(load_document_text(text, MOESIM_SOURCE "/layouts.json"));
}

template <class T>
T one_of(RandomStream& random, std::initializer_list<T> choices) {
  return choices.begin()[random.below(choices.size())];
}

/// All powers of two, so that groups lie on nodes in equal parts. Without sequence parallelism experts are
/// divided as attention is.
Case random_case(RandomStream& random) {
  Case c{.per_node = one_of<std::int64_t>(random, {2, 4, 8}),
         .pipeline = one_of<std::int64_t>(random, {1, 2, 4}),
         .tensor = one_of<std::int64_t>(random, {1, 2, 4}),
         .context = one_of<std::int64_t>(random, {1, 2, 4}),
         .data = one_of<std::int64_t>(random, {1, 2, 4})};
  while (c.devices() > 32) (c.data > 1 ? c.data : c.context > 1 ? c.context : c.pipeline) /= 2;
  while (c.devices() < c.per_node) c.per_node /= 2;
  const std::int64_t stage = c.tensor * c.context * c.data;
  c.sequence_parallel = random.below(3) > 0;
  c.expert_tensor = c.sequence_parallel ? one_of<std::int64_t>(random, {1, 2, 4}) : c.tensor;
  c.expert_tensor = std::min(c.expert_tensor, stage);
  c.expert = std::min(one_of<std::int64_t>(random, {1, 2, 4, 8}), stage / c.expert_tensor);
  c.exchange = one_of(random, {"ring", "all_gather"});
  c.recompute = one_of(random, {"none", "full", "attention", "experts"});
  c.schedule = one_of(random, {"1f1b", "gpipe", "zb_h1"});
  c.gradients = one_of(random, {"all_reduce", "zero1", "zero2", "zero3"});
  c.dispatch = one_of(random, {"pairwise", "hierarchical", "deepep", "hybrid_ep"});
  if (c.pipeline == 2 && random.below(2) == 0) {
    c.schedule = one_of(random, {"dualpipe", "dualpipev", "chimera", "interleaved", "zb_v", "zb_h2"});
    c.gradients = one_of(random, {"all_reduce", "zero1"});  // what both directions of a pipeline can have
  }
  c.topology = one_of(random, {rail_fat_tree, tapered, planes, star});
  std::vector<std::string_view> axes(std::begin(axis_names), std::end(axis_names));
  for (std::size_t k = axes.size(); k > 1; --k) std::swap(axes[k - 1], axes[random.below(k)]);
  if (random.below(2) == 0) c.placement = fmt::format(R"(["{}"])", fmt::join(axes, R"(", ")"));
  return c;
}

void check_equal(const Report& folded, const Report& full) {
  // The engine's arithmetic is floating point: with more tasks a time may round the other way.
  CHECK(std::abs(folded.step_time.count - full.step_time.count) <= 1);
  CHECK(folded.breakdown.compute == full.breakdown.compute);
  for (std::size_t activity = 0; activity < activity_count; ++activity) {
    INFO(activities[activity].name);
    CHECK(static_cast<double>(folded.communications[activity].bytes) ==
          Approx(static_cast<double>(full.communications[activity].bytes)).epsilon(1e-6));
    CHECK(folded.communications[activity].messages == full.communications[activity].messages);
    if (activity == static_cast<std::size_t>(Activity::pipeline)) continue;
    CHECK(folded.communications[activity].busy == full.communications[activity].busy);
  }
  // The way from stage to stage is shorter for some positions: folded takes the longest for all.
  const CommunicationReport& sends = folded.communications[static_cast<std::size_t>(Activity::pipeline)];
  CHECK(sends.busy >= full.communications[static_cast<std::size_t>(Activity::pipeline)].busy);
  CHECK(to_seconds(folded.breakdown.exposed_communication) ==
        Approx(to_seconds(full.breakdown.exposed_communication)).epsilon(0.01));
}

std::int64_t bytes_of(const Report& report, Activity activity) {
  return report.communications[static_cast<std::size_t>(activity)].bytes;
}

}  // namespace

TEST_CASE("Folded equals full to a picosecond for random sizes and placements of every dimension") {
  RandomStream random = Random(21).stream("layouts");
  int run = 0;
  int refused = 0;
  while (run < 150) {
    const Case c = random_case(random);
    INFO(words(c) << " on " << c.devices() << " devices, " << c.per_node << " a node, " << c.schedule << ", "
                  << c.recompute);
    try {
      check_equal(simulate(scenario_of(c)).report, simulate(scenario_of(c, "full")).report);
      ++run;
    } catch (const InputError& error) {
      REQUIRE_THAT(error.what(), Catch::Contains("parallelism.placement"));
      ++refused;
    }
  }
  CHECK(refused < run);
}

TEST_CASE("What all devices hold adds up to the model, once for each copy of it") {
  RandomStream random = Random(22).stream("layouts");
  for (int i = 0; i < 60; ++i) {
    Case c = random_case(random);
    c.placement = "[]";
    c.schedule = "1f1b";
    INFO(words(c));
    const Scenario scenario = scenario_of(c);
    const Sizes& sizes = scenario.layout.sizes();
    std::int64_t replicated = 0;
    std::int64_t experts = 0;
    for (std::int64_t rank = 0; rank < sizes.pipeline; ++rank) {
      const Holdings held = holdings(scenario, rank);
      replicated += held.replicated() * sizes.stage_devices();
      experts += held.experts() * sizes.stage_devices();
    }
    const Parameters whole = model_parameters(scenario.model);
    const std::int64_t on_every_rank = whole.router + whole.norms;
    CHECK(experts == whole.experts * sizes.expert_data());
    CHECK(replicated == (whole.replicated() - on_every_rank) * sizes.data * sizes.context +
                            on_every_rank * sizes.stage_devices());
  }
}

TEST_CASE("Context parallelism divides activations, and sends keys and values around") {
  const auto report = [](std::int64_t context, const char* exchange) {
    return simulate(
               scenario_of({.per_node = 8, .context = context, .data = 8 / context, .exchange = exchange}))
        .report;
  };
  for (const std::int64_t n : {2, 4, 8}) {
    const Report ring = report(n, "ring");
    const Report gather = report(n, "all_gather");
    CHECK(ring.memory[0].activations.count * n == report(1, "ring").memory[0].activations.count);
    // 4 layers, 4 microbatches of each group; 2 x 4 heads x 64 in bf16 for each of 256 tokens, to n - 1
    // ranks; once forward, and twice backward: again, and their gradients.
    const std::int64_t forward = 4 * 4 * (8 / n) * (n - 1) * 256 * (2 * 4 * 64) * 2;
    CHECK(bytes_of(ring, Activity::context) == 3 * forward);
    CHECK(bytes_of(gather, Activity::context) == 3 * forward);
    CHECK(ring.communications[static_cast<std::size_t>(Activity::context)].exposed <
          gather.communications[static_cast<std::size_t>(Activity::context)].exposed);
  }
}

TEST_CASE("Keys and values of latent attention travel for every head") {
  const Scenario scenario =
      load_scenario(MOESIM_SOURCE "/scenarios/deepseek-v3-h800.json",
                    {parse_override("parallelism.context=2"), parse_override("batch.sequences=1920"),
                     parse_override("schedule={\"kind\": \"1f1b\"}"), parse_override("recompute=none"),
                     parse_override("parallelism.layers_per_stage=[4,4,4,4,4,4,4,4,4,4,4,4,4,4,3,3]")});
  const Report report = simulate(scenario).report;
  // 61 layers and one that predicts; 128 heads with keys of 192 and values of 128, of 4,096 tokens a
  // sequence.
  const std::int64_t layers = static_cast<std::int64_t>(scenario.model.layers.size());
  CHECK(bytes_of(report, Activity::context) == 3 * layers * 1920 * 4096 * 128 * (192 + 128) * 2);
}

TEST_CASE("Blocks of a ring overlap: the step takes the longer of attention and sends, not their sum") {
  const auto step = [](const std::string& rate) {
    const std::string text = fmt::format(
        R"({{"model": {{"name": "one", "hidden": 1024, "vocabulary": 1024, "layers": 1,
              "attention": {{"kind": "multi_head", "heads": 8, "head_dim": 128}},
              "feed_forward": {{"kind": "swiglu", "width": 1024}}}},
            "software": {{"kind": "ideal"}},
            "cluster": {{"name": "four", "device": "configs/devices/h100.json", "devices": 4,
              "topology": {{"kind": "rail_fat_tree", "levels": 2, "devices_per_node": 4,
                "nvlink_rate": "{}", "nvlink_latency": "0 us", "nic_rate": "50 GB/s"}}}},
            "batch": {{"sequences": 1, "sequence_length": 16384}},
            "parallelism": {{"context": 4}}}})",
        rate);
    return read_scenario(load_document_text(text, MOESIM_SOURCE "/ring.json"));
  };
  const Scenario fast = step("100 TB/s");
  const Scenario slow = step("1 GB/s");
  const WorkTimes times(slow);
  const std::vector<Piece>& forward = times.layer(0).pieces[0];
  const std::vector<Piece>& backward = times.layer(0).pieces[1];
  const auto core = [](const std::vector<Piece>& pieces) {
    for (const Piece& piece : pieces) {
      if (piece.keys_and_values.count > 0) return piece;
    }
    FAIL("a pass of attention has a core");
    return Piece{};
  };
  const double send = static_cast<double>(core(forward).keys_and_values.count) / 1e9;
  const auto block = [&](const std::vector<Piece>& pieces, std::size_t number) {
    return to_seconds(core(pieces).blocks.at(number).time);
  };
  const auto all = [&](const std::vector<Piece>& pieces) { return to_seconds(core(pieces).timed.time); };
  REQUIRE(send > std::max(block(forward, 0), block(backward, 0)));
  // Fast links hide all. Slow ones: three sends and a block forward; backward a send of keys and values
  // alone, two with the gradients of the block before, and one of gradients alone.
  const double hidden = all(forward) + all(backward);
  const double shown = (3 * send + block(forward, 3)) + (send + 2 * 2 * send + send);
  CHECK(to_seconds(simulate(slow).report.makespan) - to_seconds(simulate(fast).report.makespan) ==
        Approx(shown - hidden).epsilon(1e-3));
}

TEST_CASE(
    "Without sequence parallelism a block ends in an all-reduce, and gathers nothing for weight gradients") {
  Case c{.per_node = 8, .tensor = 4, .data = 2, .expert = 2, .expert_tensor = 4};
  const Report divided = simulate(scenario_of(c)).report;
  c.sequence_parallel = false;
  const Report whole = simulate(scenario_of(c)).report;
  // Of five gathers and scatters forward and backward, each half an all-reduce, one is for weight gradients.
  CHECK(5 * bytes_of(whole, Activity::tensor) == 4 * bytes_of(divided, Activity::tensor));
  CHECK(bytes_of(whole, Activity::expert_tensor) == bytes_of(divided, Activity::expert_tensor));
  // Every rank of a tensor group sends the same tokens to its part of the experts.
  CHECK(bytes_of(whole, Activity::dispatch) == 4 * bytes_of(divided, Activity::dispatch));
  CHECK(whole.memory[0].activations > divided.memory[0].activations);
  CHECK(whole.memory[0].parameters == divided.memory[0].parameters);
}

TEST_CASE("Experts shared by a tensor group gather rows and scatter results around their products") {
  Case c{.per_node = 8, .data = 8, .expert = 4};
  const Report whole = simulate(scenario_of(c)).report;
  c.expert_tensor = 2;
  const Report shared = simulate(scenario_of(c)).report;
  // As many parameters: half of each expert of a rank, over half as many copies; as many FLOPs.
  CHECK(2 * (whole.memory[0].parameters - shared.memory[0].parameters).count ==
        size_of(Precision::bf16).count * model_parameters(scenario_of(c).model).experts / 4);
  // 2 MoE layers, 4 microbatches, 8 ranks: 256 tokens x 2 rows of 512 in bf16 from each to one other;
  // gathered and scattered, forward and backward.
  CHECK(bytes_of(shared, Activity::expert_tensor) == 4 * 2 * 4 * 8 * 256 * 2 * 512 * 2);
  CHECK(bytes_of(shared, Activity::dispatch) == bytes_of(whole, Activity::dispatch));
}

TEST_CASE("A recomputed attention core exchanges keys and values again") {
  const auto sent = [](const char* recompute) {
    return bytes_of(
        simulate(scenario_of({.per_node = 8, .context = 4, .data = 2, .recompute = recompute})).report,
        Activity::context);
  };
  // Forward once, backward twice; again once more.
  CHECK(3 * sent("attention") == 4 * sent("none"));
  CHECK(3 * sent("full") == 4 * sent("none"));
  CHECK(sent("experts") == sent("none"));
}

TEST_CASE("Sizes and placements that contradict each other are refused with their numbers") {
  const auto refused = [](const Case& c, const char* why) {
    INFO(words(c));
    CHECK_THROWS_WITH(scenario_of(c), Catch::Contains(why));
  };
  refused(
      {.per_node = 8, .data = 8, .expert = 4, .expert_tensor = 4},
      "parallelism.expert: 8 devices of a pipeline rank do not divide by expert 4 x expert_tensor 4 = 16");
  refused({.per_node = 6, .data = 6, .expert_tensor = 3},
          "parallelism.expert_tensor: 256 columns of an expert do not divide by expert_tensor 3");
  refused({.per_node = 6, .context = 3, .data = 2},
          "batch.sequence_length: 256 tokens do not divide by tensor 1 x 2 x context 3 = 6");
  refused({.per_node = 8, .tensor = 2, .data = 4, .expert = 2, .sequence_parallel = false},
          "parallelism.expert_tensor: is 1, expected 2 as tensor");
  refused({.per_node = 8,
           .tensor = 2,
           .data = 4,
           .expert = 2,
           .expert_tensor = 2,
           .sequence_parallel = false,
           .placement = R"(["expert", "expert_tensor", "tensor", "data", "pipeline"])"},
          "parallelism.placement: puts other devices into a group of expert_tensor than into one of tensor");
  // Experts fill the eight devices inside the pipeline, and with them the tensor groups that should lie
  // outside.
  refused({.per_node = 8,
           .pipeline = 2,
           .tensor = 2,
           .data = 8,
           .expert = 8,
           .placement = R"(["expert", "pipeline", "tensor", "data"])"},
          "parallelism.placement: puts 8 neighbouring devices inside the pipeline, but the 2 tensor ranks, 1 "
          "apart, "
          "do not lie across them in equal parts");
  CHECK_NOTHROW(scenario_of({.per_node = 8,
                             .pipeline = 2,
                             .tensor = 2,
                             .data = 8,
                             .expert = 8,
                             .placement = R"(["expert", "pipeline", "data", "tensor"])"}));
}

TEST_CASE("Keys and values in a ring need sends, gathered ones an all-gather") {
  const auto with = [](const std::string& exchange, const std::string& kind) {
    return load_scenario(
        MOESIM_SOURCE "/scenarios/mixtral-8x7b-h100.json",
        {parse_override("parallelism.context=2"), parse_override("parallelism.context_exchange=" + exchange),
         parse_override("collectives.context.kind=" + kind)});
  };
  CHECK_THROWS_WITH(with("ring", "ring"), Catch::Contains("collectives.context"));
  CHECK_THROWS_WITH(with("all_gather", "pairwise"), Catch::Contains("collectives.context"));
  CHECK_NOTHROW(with("ring", "pairwise"));
  CHECK_NOTHROW(with("all_gather", "ring"));
}
