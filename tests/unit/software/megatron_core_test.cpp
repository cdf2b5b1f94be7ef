// Megatron-Core: launches and waits of a layer, counted by hand in its source and that of Transformer Engine.
#include <catch2/catch.hpp>

#include "models/base/file.hpp"
#include "models/config/document.hpp"
#include "models/software/software.hpp"
#include "models/transformer/layer_ops.hpp"

using namespace moesim;

namespace {

std::unique_ptr<const Software> megatron(const std::string& keys = "") {
  const Value document =
      parse_json(R"({"kind": "megatron_core")" + (keys.empty() ? "" : ", " + keys) + "}", "test");
  Reader reader(document, "software");
  std::unique_ptr<const Software> made = make_member(reader, softwares(), "software");
  reader.finish();
  return made;
}

/// Qwen3-30B-A3B with a shared expert where it is wanted.
Model model_of(const std::string& moe = R"("experts": 128, "top_k": 8, "width": 768)") {
  const Value document = parse_json(R"({"name": "qwen3", "hidden": 2048, "vocabulary": 151936, "layers": 1,
      "attention": {"kind": "grouped_query", "heads": 32, "kv_heads": 4, "head_dim": 128, "qk_norm": true},
      "moe": {)" + moe + "}}",
                                    "test");
  Reader reader(document, "model");
  return read_model(reader);
}

constexpr std::int64_t tokens = 4096, local = 16;

/// One layer on one of eight expert-parallel ranks.
LayerOps layer(const Software& software, Precision gemm = Precision::bf16, const Model& model = model_of()) {
  const std::vector<std::int64_t> rows(local, tokens * 8 / local);
  const Share share{.sequence_length = tokens,
                    .expert_rows = rows,
                    .dispatched_rows = tokens * 8,
                    .gemm = gemm,
                    .fusion = software.habits().fusion,
                    .keeping = &software};
  return lower_layer(model, 0, share, {});
}

struct Counts {
  std::int64_t launches = 0, calls = 0, waits = 0;
  bool operator==(const Counts&) const = default;
};
std::ostream& operator<<(std::ostream& out, const Counts& counts) {
  return out << counts.launches << " launches, " << counts.calls << " calls, " << counts.waits << " waits";
}

/// Of the ops of a layer that are wanted.
template <class Wanted>
Counts count(const LayerOps& ops, const Software& software, bool is_forward, Wanted is_wanted) {
  Counts counts;
  std::vector<Op> kernels;
  for (const BlockOps* block : {&ops.attention, &ops.feed_forward}) {
    for (const auto* pass : {&block->forward, &block->backward_input, &block->backward_weight}) {
      if ((pass == &block->forward) != is_forward) continue;
      for (const Op& op : *pass) {
        if (is_wanted(op)) software.add_kernels(op, kernels);
      }
    }
  }
  for (const Op& kernel : kernels) {
    counts.launches += kernel.kernels;
    counts.calls += kernel.calls < 0 ? kernel.kernels : kernel.calls;
    counts.waits += kernel.waits;
  }
  return counts;
}

Counts of_module(Module module, bool is_forward, const Software& software, Precision gemm = Precision::bf16) {
  return count(layer(software, gemm), software, is_forward,
               [&](const Op& op) { return op.module == module; });
}

Counts of_layer(bool is_forward, const Software& software, Precision gemm = Precision::bf16) {
  return count(layer(software, gemm), software, is_forward, [](const Op&) { return true; });
}

double number_of(const Value& object, const char* key) { return object.find(key)->number; }

double mean_us(const Value& object) {
  const std::vector<Value>& two = object.find("us")->items;
  return (two[0].number + two[1].number) / 2;
}

/// Measured parts of a layer but its exchanges, with 15.6 us for each launch of what was stood for in place
/// of what that took.
double measured_us(const Value& table, const char* pass) {
  double sum = 0;
  for (const auto& [name, part] : table.find("parts of bf16")->find(pass)->members) {
    if (name != "dispatch" && name != "combine") sum += mean_us(part);
  }
  for (const auto& [name, part] : table.find("stand_in of bf16")->find(pass)->members) {
    if (name == "all_to_all_single") continue;  // of the exchanges
    sum += 15.6 * number_of(part, "launches") - mean_us(part);
  }
  return sum;
}

}  // namespace

TEST_CASE("A layer of Megatron-Core has the launches that its source counts") {
  const auto software = megatron();
  const auto forward = [&](Module module) { return of_module(module, true, *software).launches; };
  const auto backward = [&](Module module) { return of_module(module, false, *software).launches; };
  // The norm of the layer and the one before experts; queries and keys are copied for theirs.
  CHECK(forward(Module::norm) == 1 + 1 + 4);
  CHECK(backward(Module::norm) == 3 + 3 + 6);
  // Of queries, keys and values, the output and the router, whose gradient is summed by a kernel of its own.
  CHECK(forward(Module::projection) == 3);
  CHECK(backward(Module::projection) == 2 * 3 + 1);
  CHECK(forward(Module::rotary) == 2);
  CHECK(backward(Module::rotary) == 3);
  CHECK(forward(Module::core) == 1);
  CHECK(backward(Module::core) == 3);
  CHECK(forward(Module::residual) == 2);
  CHECK(backward(Module::residual) == 1 + 2);
  // Two of topk, softmax and a cast; marks and probabilities scattered.
  CHECK(forward(Module::router) == 4 + 8);
  CHECK(backward(Module::router) == 5);
  // Counts here and of all ranks, three kernels for places, the rows, four copies to the host.
  CHECK(forward(Module::permute) == 7 + 3 + 1 + 4);
  CHECK(backward(Module::permute) == 1);
  // Weights come by an exchange of their own; places of chunks, and rows, twice.
  CHECK(forward(Module::sort) == 1 + 2 + 2);
  CHECK(backward(Module::sort) == 1 + 1 + 1);
  CHECK(forward(Module::experts) == 2 * local);
  CHECK(backward(Module::experts) == 4 * local);
  CHECK(forward(Module::expert_activation) == 1);
  CHECK(forward(Module::unpermute) == 1);
  CHECK(of_layer(true, *software).launches == 80);
  CHECK(of_layer(false, *software).launches == 103);
}

TEST_CASE(
    "The host waits once in a forward for the counts of tokens, and not at all where experts are padded") {
  CHECK(of_layer(true, *megatron()).waits == 1);
  CHECK(of_layer(false, *megatron()).waits == 0);
  const auto padded = megatron(R"("moe_pad_expert_input_to_capacity": true)");
  CHECK(of_layer(true, *padded).waits == 0);
  // By index the host also reads how many rows there are, for places and for weights.
  CHECK(of_layer(true, *megatron(R"("moe_permute_fusion": false)")).waits == 1 + 2);
  // DeepEP's dispatch waits; so do three selections of choices.
  CHECK(of_layer(true, *megatron(R"("moe_token_dispatcher_type": "flex")")).waits == 1 + 3);
  CHECK(of_layer(true, *megatron(R"("moe_token_dispatcher_type": "flex", "enable_experimental": true)"))
            .waits == 1);
  const auto hybrid =
      megatron(R"("moe_token_dispatcher_type": "flex", "moe_flex_dispatcher_backend": "hybridep")");
  CHECK(of_layer(true, *hybrid).waits == 1);
  CHECK(of_layer(true, *megatron(R"("version": "v0.12", "moe_permute_fusion": false)")).waits == 1 + 2 + 1);
}

TEST_CASE(
    "For counts of what goes to other ranks the host waits with the dispatch, for others where they are") {
  const auto software = megatron(R"("moe_permute_fusion": false)");
  std::vector<Op> kernels;
  for (const Op& op : layer(*software).attention.forward) {
    if (op.module == Module::permute) software->add_kernels(op, kernels);
  }
  std::int64_t in_call = 0, behind = 0;
  for (const Op& kernel : kernels) (kernel.waits_in_call ? in_call : behind) += kernel.waits;
  CHECK(in_call == 1);
  CHECK(behind == 2);
  CHECK(software->habits().waits_in_dispatch);
  CHECK_FALSE(megatron(R"("moe_pad_expert_input_to_capacity": true)")->habits().waits_in_dispatch);
}

TEST_CASE("Products of experts are launched in a loop in C++, which takes less of the host than modules do") {
  const auto calls = [](const std::string& keys, bool is_forward) {
    const auto software = megatron(keys);
    return of_module(Module::experts, is_forward, *software);
  };
  // 16 products of 15.6 us and forward 15 us of Python each, in launches of 33 and 29 us, behind one in
  // Python and what the module has beside; a hook for each weight.
  CHECK(calls("", true) == Counts{2 * local, 2 * (1 + 15 + 5), 0});
  CHECK(calls("", false) == Counts{4 * local, 2 * (1 + 9 + 3) + 2 * (1 + 9) + 2 * local, 0});
  // Modules one by one, and a copy that joins their results.
  CHECK(calls(R"("moe_grouped_gemm": false)", true) == Counts{2 * local + 1, (1 + 5) * 2 * local + 1, 0});
  CHECK(calls(R"("moe_grouped_gemm": false)", false) ==
        Counts{4 * local + 1, (1 + 3) * 2 * local + (1 + 1) * 2 * local + 1, 0});
}

TEST_CASE("A cast to fp8 is as many kernels as its recipe needs for each expert") {
  const auto casts = [](const std::string& recipe, bool is_forward) {
    const auto software = megatron(R"("fp8_recipe": ")" + recipe + "\"");
    return of_module(Module::cast, is_forward, *software, Precision::fp8).launches;
  };
  // Inputs of four products forward, gradients of their outputs backward.
  CHECK(casts("delayed", true) == 4);
  CHECK(casts("mxfp8", true) == 2 + 2 * local);
  CHECK(casts("tensorwise", true) == 4 * (2 + 2 * local));
  CHECK(casts("blockwise", false) == 2 + 2 * local);
  CHECK(casts("tensorwise", false) == 4 * (2 + 2 * local));
}

TEST_CASE("Fused routers and auxiliary losses have their own kernels") {
  const auto routers = [](const std::string& keys, bool is_forward) {
    return of_module(Module::router, is_forward, *megatron(keys)).launches;
  };
  CHECK(routers(R"("moe_router_fusion": true)", true) == 1);
  CHECK(routers(R"("moe_router_fusion": true)", false) == 1);
  CHECK(routers(R"("moe_router_fusion": true, "moe_aux_loss_coeff": 0.001)", true) == 1 + 5);
  CHECK(routers(R"("moe_aux_loss_coeff": 0.001)", true) == 12 + 15);
  CHECK(routers(R"("moe_pad_expert_input_to_capacity": true)", true) == 12 + 10);
}

TEST_CASE("What a CUDA graph holds is launched with it, but not what the host waits for") {
  const auto scoped = [](const std::string& scope) {
    return megatron(R"("moe_router_fusion": true, "cuda_graph_scope": [)" + scope + "]");
  };
  const auto none = of_layer(true, *megatron(R"("moe_router_fusion": true)"));
  const auto all = scoped(R"("attn", "moe_router", "moe_preprocess")");
  // Left: copies to the host; sorts with an exchange of weights, experts, rows back, the last sum; a graph.
  const std::int64_t copies = 4 + 7, sorts = 3 + 2 * (1 + 9), experts = 2 * 21 + 10;
  CHECK(of_layer(true, *all) == Counts{none.launches, copies + sorts + experts + 7 + 12 + 2, 1});
  CHECK(of_module(Module::core, true, *all).calls == 2);
  CHECK(of_module(Module::core, false, *all).calls == 2);
  const auto router = scoped(R"("moe_router")");
  CHECK(of_module(Module::router, true, *router).calls == 2);
  CHECK(of_module(Module::norm, true, *router).calls == 1 + (4 + 15));
  CHECK(of_module(Module::permute, true, *router).calls ==
        of_module(Module::permute, true, *megatron()).calls);
}

TEST_CASE("A whole iteration in a graph leaves no host, and needs a dispatch without a wait") {
  const auto software =
      megatron(R"("moe_pad_expert_input_to_capacity": true, "cuda_graph_scope": "full_iteration")");
  const HostTimes& host = software->habits().host;
  CHECK(host.forward == Time{});
  CHECK(host.call == Time{});
  CHECK(host.start > Time{});
  CHECK_FALSE(software->habits().graph_waits);
  CHECK(megatron(R"("cuda_graph_scope": "full_iteration")")->habits().graph_waits);
}

TEST_CASE("Keys of later releases are errors in earlier ones") {
  const auto fails = [](const std::string& keys, const std::string& with) {
    CHECK_THROWS_WITH(megatron(keys), Catch::Contains(with));
  };
  fails(R"("version": "v0.10", "moe_permute_fusion": true)", "is of Megatron-Core v0.11 and later");
  fails(R"("version": "v0.13", "moe_router_fusion": true)", "0.14");
  fails(R"("version": "v0.15", "cuda_graph_scope": "moe_router")", "0.16");
  fails(R"("version": "v0.11", "moe_token_dispatcher_type": "flex")", "0.12");
  fails(R"("cuda_graph_scope": "moe_preprocess")", "expected moe_router with it");
  fails(R"("cuda_graph_scope": "mlp")", "known: attn, moe_router");
  CHECK_FALSE(megatron(R"("version": "v0.9")")->habits().fusion.permutation);
  CHECK(megatron()->habits().fusion.permutation);
}

TEST_CASE("Biases of experts are weighed and added expert by expert") {
  const auto software = megatron();
  const Model biased = model_of(R"("experts": 128, "top_k": 8, "width": 768, "bias": true)");
  const auto experts = [&](bool is_forward) {
    return count(layer(*software, Precision::bf16, biased), *software, is_forward,
                 [](const Op& op) { return op.module == Module::experts; })
        .launches;
  };
  // Times the weight, and added; then joined and cast.
  CHECK(experts(true) == 2 * local + 2 * local + 2);
  // Cast, five kernels for each expert and two sums of its biases; two joins.
  CHECK(experts(false) == 4 * local + 1 + 5 * local + 2 + 2 * local);
}

TEST_CASE("The host of a layer takes what was measured, within an eighth") {
  const std::string path = MOESIM_SOURCE "/configs/validation/megatron-host-h200.json";
  const Value table = parse_json(read_file(path), path);
  const auto software = megatron(R"("moe_aux_loss_coeff": 0.001)");
  const HostTimes& host = software->habits().host;
  for (const bool is_forward : {true, false}) {
    const Time launch = is_forward ? host.forward : host.backward;
    const double told = 1e6 * to_seconds(launch) * static_cast<double>(of_layer(is_forward, *software).calls);
    CHECK(told == Approx(measured_us(table, is_forward ? "forward" : "backward")).epsilon(0.125));
  }
}

TEST_CASE("A slower host takes longer for all that it does") {
  const HostTimes usual = megatron()->habits().host, slow = megatron(R"("host_pace": 1.25)")->habits().host;
  CHECK(slow.forward == scaled(usual.forward, 1.25));
  CHECK(slow.call == scaled(usual.call, 1.25));
  CHECK(slow.wait == scaled(usual.wait, 1.25));
  CHECK(slow.node == scaled(usual.node, 1.25));
  REQUIRE(usual.node > Time{});
}
