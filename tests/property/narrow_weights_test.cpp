// Weights in fp8 and narrow copies of weights, in a step: what they take of memory and links, what casts
// cost, and where they are refused. Layers that stay bf16, and products in fp4.
#include <fmt/format.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <string>

#include "models/base/error.hpp"
#include "sim/estimate/estimate.hpp"
#include "sim/read/scenario.hpp"
#include "sim/run/simulate.hpp"
#include "sim/work/holdings.hpp"
#include "sim/work/share.hpp"

using namespace moesim;

namespace {

struct Case {
  std::string precision = "{}", device = "h100", recipe = "blockwise", sync = R"({"kind": "zero1"})",
              more = "";
  std::int64_t pipeline = 1;
};

std::string text_of(const Case& c) {
  return fmt::format(
      R"({{"model": {{"name": "small", "hidden": 1024, "vocabulary": 8192, "layers": 4, "dense_layers": 1,
            "feed_forward": {{"kind": "swiglu", "width": 4096}},
            "attention": {{"kind": "grouped_query", "heads": 8, "kv_heads": 8, "head_dim": 128, "qkv_bias": true}},
            "moe": {{"experts": 8, "top_k": 2, "width": 512, "shared_experts": 1}}}},
          "cluster": {{"name": "node", "device": {{"extends": "configs/devices/{}.json", "spread": 0}},
            "devices": 4, "topology": {{"kind": "nvswitch", "nvlink_rate": "450 GB/s"}}}},
          "batch": {{"sequences": 16, "sequence_length": 1024}}, "parallelism": {{"expert": 2, "pipeline": {}}},
          "schedule": {{"kind": "1f1b"}}, "gradient_sync": {}, "precision": {},
          "software": {{"kind": "megatron_core", "fp8_recipe": "{}"}}{}}})",
      c.device, c.pipeline, c.sync, c.precision, c.recipe, c.more);
}

Scenario scenario_of(const Case& c) {
  return read_scenario(load_document_text(text_of(c), MOESIM_SOURCE "/scenarios/case.json"));
}

std::string refusal(const Case& c) {
  try {
    static_cast<void>(scenario_of(c));
  } catch (const InputError& error) {
    return error.what();
  }
  return "accepted";
}

bool refuses(const Case& c, const std::string& part) {
  const std::string what = refusal(c);
  INFO(what);
  CHECK(what.find(part) != std::string::npos);
  return what.find(part) != std::string::npos;
}

const std::string fp8 = R"({"gemm": "fp8"})", parameters = R"({"gemm": "fp8", "parameters": "fp8"})",
                  copies = R"({"gemm": "fp8", "weight_copies": true})";

double gathered(const Report& report) {
  return static_cast<double>(at(report.communications, Activity::parameter).bytes);
}

/// Of one device: elements that are operands of products in fp8.
constexpr std::int64_t attention = 4 * 1024 * 1024, dense = 3 * 1024 * 4096, shared = 3 * 1024 * 512,
                       experts = 4 * 3 * 1024 * 512;
constexpr std::int64_t narrow = 4 * attention + dense + 3 * (shared + experts);

}  // namespace

TEST_CASE(
    "Operands of products are matrices of attention and experts, while ends, norms and the router stay") {
  const Holdings held = holdings(scenario_of({.precision = parameters}), 0);
  CHECK(held.narrow + held.narrow_experts == narrow);
  CHECK(held.narrow_experts == 3 * experts);
  CHECK(holdings(scenario_of({}), 0).narrow == 0);
  const Holdings fewer = holdings(
      scenario_of(
          {.precision =
               R"({"gemm": "fp8", "num_layers_at_start_in_bf16": 1, "num_layers_at_end_in_bf16": 2})"}),
      0);
  CHECK(fewer.narrow + fewer.narrow_experts == attention + shared + experts);
}

TEST_CASE("Weights in fp8 are gathered in half the bytes, and the copy in bf16 is gone") {
  for (const std::string recipe : {"delayed", "tensorwise", "blockwise", "mxfp8"}) {
    for (const char* sync :
         {R"({"kind": "zero1"})", R"({"kind": "zero1", "overlap": true, "overlap_parameters": true})",
          R"({"kind": "zero2"})"}) {
      const bool is_mx = recipe == "mxfp8";
      CAPTURE(recipe, sync);
      Case c{.precision = copies, .device = is_mx ? "b200" : "h100", .recipe = recipe, .sync = sync};
      const Simulation with_copies = simulate(scenario_of(c));
      c.precision = parameters;
      const Simulation in_fp8 = simulate(scenario_of(c));
      const Holdings held = holdings(scenario_of(c), 0);
      // Two ranks hold the same experts, four all else: each sends its half or quarter to the others.
      const auto sent = [](double replicated, double of_experts) {
        return 3.0 / 4 * replicated + of_experts / 2;
      };
      const double all =
          sent(2.0 * static_cast<double>(held.replicated()), 2.0 * static_cast<double>(held.experts()));
      const double saved = sent(static_cast<double>(held.narrow), static_cast<double>(held.narrow_experts));
      const double before = gathered(with_copies.report), after = gathered(in_fp8.report);
      CHECK(after / before == Approx(is_mx ? 1 : 1 - saved / all).epsilon(1e-6));
      const MemoryReport& copied = with_copies.report.memory.front();
      const MemoryReport& alone = in_fp8.report.memory.front();
      CHECK(copied.parameters - alone.parameters == Bytes{2 * narrow});
      CHECK(copied.optimizer == alone.optimizer);
    }
  }
}

TEST_CASE("Weights in fp8 are cast once a step, whatever its microbatches") {
  const auto more = [](const std::string& sequences) {
    const auto of = [&](const std::string& precision) {
      Value document =
          load_document_text(text_of({.precision = precision}), MOESIM_SOURCE "/scenarios/case.json");
      apply_override(document, parse_override("batch.sequences=" + sequences));
      return simulate(read_scenario(document)).report;
    };
    return of(copies).breakdown.optimizer - of(fp8).breakdown.optimizer;
  };
  const Time of_four = more("16"), of_sixteen = more("64");
  CHECK(of_four > Time{});
  CHECK(of_four == of_sixteen);
  // Read in bf16, written both ways with a scale for each 128 x 128; a seventh more at the most for launches.
  const Scenario scenario = scenario_of({.precision = copies});
  const double bytes = static_cast<double>(narrow) * (2 + 2 * (1 + 4.0 / 16384));
  const Device& device = scenario.cluster->device;
  CHECK(to_seconds(of_four) ==
        Approx(bytes / (device.memory_bandwidth.count * device.memory_efficiency)).epsilon(0.15));
}

TEST_CASE("An estimate has the memory and the bytes of weights in fp8 that a run has") {
  const auto outcome = [](const std::string& precision) {
    const Scenario scenario = scenario_of({.precision = precision});
    CostTables tables(scenario_of({.precision = precision}));
    const Division division{scenario.layout.sizes(), scenario.layout.placement()};
    const DivisionGroups groups = tables.groups(division);
    const MicrobatchCost cost =
        tables.cost(division, groups, scenario.batch.microbatch, {{}, scenario.recompute}, 0);
    const PipelineProfile profile = profile_of(*scenario.schedule, 1, scenario.microbatches());
    PipelineEstimate estimate(tables, cost, profile,
                              stage_costs(cost, tables.kind_of_layer(), scenario.layers_per_stage));
    const UpdateSeconds each = update_seconds(scenario);
    const Report report = simulate(scenario).report;
    const Estimate found = estimate.with({scenario.gradient_sync, groups, each});
    CHECK(found.seconds == Approx(to_seconds(report.step_time)).epsilon(0.05));
    return std::pair(found.memory, static_cast<double>(report.memory_peak().count));
  };
  const auto [estimated, simulated] = outcome(fp8);
  for (const std::string& precision : {parameters, copies}) {
    CAPTURE(precision);
    const auto [estimated_so, simulated_so] = outcome(precision);
    CHECK(estimated_so - estimated == simulated_so - simulated);
    CHECK(simulated_so != simulated);
  }
}

TEST_CASE("Weights in fp8 are refused where it is not known how they are gathered or cast") {
  refuses({.precision = R"({"parameters": "fp8"})"}, "products are in bf16");
  refuses({.precision = R"({"weight_copies": true})"}, "products are in bf16");
  refuses({.precision = R"({"gemm": "fp8", "parameters": "fp8", "weight_copies": true})"}, "have no copies");
  for (const std::string sync : {"all_reduce", "ddp", "zero3", "parameter_server"})
    refuses({.precision = parameters, .sync = fmt::format(R"({{"kind": "{}"}})", sync)},
            "expected gradient_sync zero1 or zero2");
  Value units = load_document_text(text_of({.precision = parameters, .sync = R"({"kind": "fsdp2"})"}),
                                   MOESIM_SOURCE "/scenarios/case.json");
  apply_override(units, parse_override("software.use_precision_aware_optimizer=true"));
  CHECK_THROWS_WITH(read_scenario(units), Catch::Matchers::Contains("zero1 or zero2"));
  refuses({.precision = copies, .sync = R"({"kind": "zero3"})"}, "sharded parameters");
  refuses({.precision = parameters, .more = R"(, "optimizer": {"kind": "adamw", "offload": true})"},
          "for fp8_recipe delayed only");
  Case ideal{.precision = parameters};
  Value document = load_document_text(text_of(ideal), MOESIM_SOURCE "/scenarios/case.json");
  apply_override(document, parse_override(R"(software={"kind": "ideal"})"));
  CHECK_THROWS_AS(read_scenario(document), InputError);
}

TEST_CASE("Layers at both ends stay bf16, and cost what they cost in bf16") {
  const auto layer = [](const std::string& precision, std::size_t number) {
    return ops_of_layer(scenario_of({.precision = precision}), number);
  };
  const std::string ends =
      R"({"gemm": "fp8", "num_layers_at_start_in_bf16": 1, "num_layers_at_end_in_bf16": 1})";
  for (const std::size_t number : {0, 3}) {
    CHECK(layer(ends, number).feed_forward.activations == layer("{}", number).feed_forward.activations);
    CHECK(layer(ends, number).attention.forward.size() == layer("{}", number).attention.forward.size());
  }
  for (const std::size_t number : {1, 2})
    CHECK(layer(ends, number).feed_forward.activations == layer(fp8, number).feed_forward.activations);
  const Time none = simulate(scenario_of({.precision = fp8})).report.step_time;
  CHECK(simulate(scenario_of({.precision = ends})).report.step_time != none);
  refuses({.precision = R"({"num_layers_at_start_in_bf16": 1})"}, "products are in bf16");
  refuses({.precision = R"({"gemm": "fp8", "num_layers_at_end_in_bf16": 5})"}, "at most the 4 layers");
  refuses({.precision = ends, .recipe = "delayed"}, "delayed scaling does not go with");
}

TEST_CASE("Products in fp4 are of devices that have them, and faster there") {
  const std::string fp4 = R"({"gemm": "fp4"})";
  refuses({.precision = fp4}, "precision.gemm: is fp4, but H100 has no products in it");
  const auto product = [](Precision precision, const std::string& device) {
    const Scenario scenario = scenario_of({.device = device});
    const Op op = make_gemm("product", OpPass::forward, 16384, 16384, 16384, precision);
    return scenario.cost->time(op, scenario.cluster->device, {}).time;
  };
  CHECK(product(Precision::fp4, "b200") < product(Precision::fp8, "b200"));
  CHECK(product(Precision::fp4, "gb300") < product(Precision::fp4, "gb200"));
  for (const char* name : {"dispatch", "combine", "gradient", "moments"})
    refuses({.precision = fmt::format(R"({{"{}": "fp4"}})", name), .device = "b200"}, "unknown 'fp4'");
  for (const char* kind : {"hugging_face", "torchtitan"}) {
    Value document = load_document_text(text_of({.precision = fp4, .device = "b200"}),
                                        MOESIM_SOURCE "/scenarios/case.json");
    apply_override(document, parse_override(fmt::format(R"(software={{"kind": "{}"}})", kind)));
    CHECK_THROWS_AS(read_scenario(document), InputError);
  }
}
