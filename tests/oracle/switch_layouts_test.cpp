// The layouts of figure 9 of the Switch Transformer paper (arXiv 2101.03961, section 5), with the
// communication that section 5 gives for each: N cores, n data-parallel and m model-parallel ways, B tokens
// in the batch, E experts of capacity C. Read off the graph, byte for byte.
#include <fmt/format.h>

#include <catch2/catch.hpp>

#include "sim/lower/lower.hpp"
#include "sim/read/scenario.hpp"
#include "sim/scenario/scenario.hpp"

using namespace moesim;

namespace {

constexpr std::int64_t N = 8;                       // cores
constexpr std::int64_t d_model = 512;               // hidden
constexpr std::int64_t B = 8 * 128;                 // tokens of the batch, one microbatch
constexpr std::int64_t element = 2;                 // bf16
constexpr std::int64_t layers = 4, moe_layers = 2;  // every other layer has experts

/// A layout with n data-parallel ways, all tokens in one microbatch. Top-1 with even loads: capacity factor
/// 1, so that E x C is the tokens of a core.
Scenario scenario_of(const std::string& layout, std::int64_t n, const std::string& resolution = "full") {
  const std::string text = fmt::format(
      R"({{"model": {{"name": "switch", "hidden": {}, "vocabulary": 1024, "layers": {}, "moe_every": 2,
            "attention": {{"kind": "multi_head", "heads": 8, "head_dim": 64}},
            "feed_forward": {{"kind": "swiglu", "width": 1024}},
            "moe": {{"experts": 8, "top_k": 1, "width": 1024}}}},
          "software": {{"kind": "ideal"}},
          "cluster": {{"name": "node", "device": "configs/devices/h100.json", "devices": {},
            "topology": {{"kind": "rail_fat_tree", "levels": 2, "devices_per_node": 8,
              "nvlink_rate": "400 GB/s", "nic_rate": "50 GB/s"}}}},
          "batch": {{"sequences": 8, "sequence_length": 128, "microbatch": {}}},
          "parallelism": {},
          "gradient_sync": {{"kind": "all_reduce"}},
          "resolution": "{}"}})",
      d_model, layers, N, 8 / n, layout, resolution);
  return read_scenario(load_document_text(text, MOESIM_SOURCE "/switch.json"));
}

/// What all cores send, by pass of the model: gradients and parameters belong to none.
struct Sent {
  std::int64_t all_reduced = 0;  ///< model parallelism, outside and inside experts
  std::int64_t exchanged = 0;    ///< all-to-all
  friend bool operator==(const Sent&, const Sent&) = default;
};

struct Communication {
  Sent forward, backward;
  std::int64_t outside = 0;  ///< all-reduced by embedding and head, both ways
  std::int64_t gradients = 0;
  std::int64_t rest = 0;
};

std::ostream& operator<<(std::ostream& out, const Sent& sent) {
  return out << "all-reduced " << sent.all_reduced << ", exchanged " << sent.exchanged;
}

Communication communication_of(const Scenario& scenario) {
  const TaskGraph graph = lower(work_of(scenario));
  Communication sum;
  for (TaskId task = 0; task < graph.size(); ++task) {
    if (graph.kinds[task] != TaskKind::coflow) continue;
    const Tag& tag = graph.tags[task];
    const std::int64_t bytes = graph.pattern_table[graph.patterns[task]].bytes_sent;
    Sent& sent = tag.pass == PassKind::forward ? sum.forward : sum.backward;
    switch (tag.activity) {
      case Activity::tensor:
      case Activity::expert_tensor:
        (tag.layer < 0 ? sum.outside : sent.all_reduced) += bytes;
        break;
      case Activity::dispatch:
      case Activity::combine:
      case Activity::dispatch_backward:
      case Activity::combine_backward:
        sent.exchanged += bytes;
        break;
      case Activity::gradient:
        sum.gradients += bytes;
        break;
      default:
        sum.rest += bytes;
    }
  }
  return sum;
}

/// What all cores send when `groups` groups of `ranks` all-reduce a buffer of that size: 2 (r-1)/r of it
/// each, the least that an all-reduce can do.
std::int64_t all_reduce(std::int64_t groups, std::int64_t ranks, std::int64_t buffer) {
  return groups * 2 * (ranks - 1) * buffer;
}

/// What all cores send when each of N in groups of `ranks` exchanges a buffer, all but what stays.
std::int64_t all_to_all(std::int64_t ranks, std::int64_t buffer) { return N * (ranks - 1) * buffer / ranks; }

}  // namespace

TEST_CASE("Data parallelism of the Switch paper sends gradients, and nothing in the passes") {
  const Scenario scenario = scenario_of(R"({"layout": "data"})", N);
  const Communication sent = communication_of(scenario);
  CHECK(sent.forward == Sent{});
  CHECK(sent.backward == Sent{});
  CHECK(sent.rest == 0);
  CHECK(sent.gradients == all_reduce(1, N, 4 * model_parameters(scenario.model).total()));
}

TEST_CASE("Model parallelism of the Switch paper all-reduces B x d_model forward and again backward") {
  const Communication sent = communication_of(scenario_of(R"({"layout": "model"})", 1));
  // Of every block: the feed-forward that the paper speaks of, and attention, whose heads are divided as
  // well.
  const std::int64_t of_blocks = 2 * layers * all_reduce(1, N, B * d_model * element);
  CHECK(sent.forward == Sent{.all_reduced = of_blocks});
  CHECK(sent.backward == Sent{.all_reduced = of_blocks});
  CHECK(sent.outside == 2 * all_reduce(1, N, B * d_model * element));
  CHECK(sent.gradients + sent.rest == 0);
}

TEST_CASE(
    "Model and data parallelism of the Switch paper all-reduce B over n x d_model in each model group") {
  const std::int64_t m = 4;
  const std::int64_t n = N / m;
  const Communication sent = communication_of(scenario_of(R"({"layout": "model_data", "model": 4})", n));
  const std::int64_t of_blocks = 2 * layers * all_reduce(n, m, B / n * d_model * element);
  CHECK(sent.forward == Sent{.all_reduced = of_blocks});
  CHECK(sent.backward == Sent{.all_reduced = of_blocks});
  CHECK(sent.gradients > 0);
  CHECK(sent.rest == 0);
}

TEST_CASE("Expert and data parallelism of the Switch paper exchange E x C x d_model there and back") {
  const Communication sent = communication_of(scenario_of(R"({"layout": "expert_data"})", N));
  const std::int64_t experts_times_capacity = B / N;
  const std::int64_t of_layers = moe_layers * 2 * all_to_all(N, experts_times_capacity * d_model * element);
  CHECK(sent.forward == Sent{.exchanged = of_layers});
  CHECK(sent.backward == Sent{.exchanged = of_layers});
  CHECK(sent.gradients > 0);  // of all but the experts
  CHECK(sent.rest == 0);
}

TEST_CASE("Expert, model and data parallelism of the Switch paper do both") {
  const std::int64_t m = 2;
  const std::int64_t n = N / m;
  const Communication sent =
      communication_of(scenario_of(R"({"layout": "expert_model_data", "model": 2})", n));
  const std::int64_t tokens = B / n;  // of a core, and E x C
  const Sent expected{.all_reduced = 2 * layers * all_reduce(n, m, tokens * d_model * element),
                      .exchanged = moe_layers * 2 * all_to_all(n, tokens * d_model * element)};
  CHECK(sent.forward == expected);
  CHECK(sent.backward == expected);
  CHECK(sent.rest == 0);
}

TEST_CASE("The layouts of the Switch paper send as much folded as in full") {
  const std::pair<const char*, std::int64_t> layouts[] = {
      {R"({"layout": "data"})", N},
      {R"({"layout": "model"})", 1},
      {R"({"layout": "model_data", "model": 4})", 2},
      {R"({"layout": "expert_data"})", N},
      {R"({"layout": "expert_model_data", "model": 2})", 4}};
  for (const auto& [layout, n] : layouts) {
    INFO(layout);
    const Communication full = communication_of(scenario_of(layout, n, "full"));
    const Communication folded = communication_of(scenario_of(layout, n, "folded"));
    CHECK(folded.forward == full.forward);
    CHECK(folded.backward == full.backward);
    CHECK(folded.gradients == full.gradients);
  }
}

TEST_CASE("A layout decides its sizes, and refuses others") {
  const Scenario scenario = scenario_of(R"({"layout": "expert_model_data", "model": 2, "tensor": 2})", 4);
  CHECK(scenario.layout.sizes().tensor == 2);
  CHECK(scenario.layout.sizes().expert == 4);
  CHECK(scenario.layout.sizes().expert_tensor == 2);
  CHECK(!scenario.sequence_parallel);
  const auto refused = [](const char* layout, const char* why) {
    CHECK_THROWS_WITH(scenario_of(layout, 1), Catch::Contains(why));
  };
  refused(R"({"layout": "data", "tensor": 2})",
          "parallelism.tensor: is 2, but layout 'data' on 8 devices makes it 1");
  refused(R"({"layout": "expert_data", "expert": 4})",
          "is 4, but layout 'expert_data' on 8 devices makes it 8");
  refused(R"({"layout": "model", "sequence_parallel": true})", "parallelism.sequence_parallel: is 1");
  refused(R"({"layout": "model", "model": 8})", "is 8, but layout 'model' leaves no choice");
  refused(R"({"layout": "model_data"})", "is missing: layout 'model_data' divides 8 devices");
  refused(R"({"layout": "model_data", "model": 3})", "8 devices of a pipeline rank do not divide by model 3");
  refused(R"({"model": 4})", "is 4, but layout 'given' leaves no choice");
}
