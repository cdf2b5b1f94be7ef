// What a Hugging Face model may be run with: kernels, waits and bytes of each choice, counted by hand from
// profiles of one H200 (configs/validation/software-h200.json).
#include <catch2/catch.hpp>

#include <algorithm>

#include "models/config/document.hpp"
#include "models/cost/roofline.hpp"
#include "models/software/software.hpp"
#include "models/transformer/layer_ops.hpp"
#include "tests/support/devices.hpp"

using namespace moesim;

namespace {

std::unique_ptr<const Software> software(const std::string& keys) {
  const Value document = parse_json(R"({"kind": "hugging_face")" + keys + "}", "test");
  Reader reader(document, "software");
  return make_member(reader, softwares(), "software");
}

Model model(const std::string& keys) {
  const Value document =
      parse_json(R"({"name": "m", "hidden": 4096, "vocabulary": 32000, "layers": 1, )" + keys + "}", "test");
  Reader reader(document, "model");
  return read_model(reader);
}

const std::string grouped_query = R"("attention": {"kind": "grouped_query", "heads": 32, "kv_heads": 8})";

Model llama() { return model(grouped_query + R"(, "feed_forward": {"width": 14336})"); }

/// A layer on one device; `rows` of each expert.
LayerOps layer(const Model& of, const Software& software, std::int64_t sequences, std::int64_t length,
               const std::vector<std::int64_t>& rows = {}, bool full = false) {
  std::int64_t sent = 0;
  for (const std::int64_t some : rows) sent += some;
  const Share share{.sequences = sequences,
                    .sequence_length = length,
                    .expert_rows = rows,
                    .dispatched_rows = sent,
                    .keeping = &software};
  return lower_layer(of, 0, share, {.full = full});
}

/// Kernels of all ops of a pass.
std::vector<Op> kernels_of(const LayerOps& ops, const Software& software, OpPass pass) {
  std::vector<Op> kernels;
  for (const BlockOps* block : {&ops.attention, &ops.feed_forward}) {
    const auto& list = pass == OpPass::forward          ? block->forward
                       : pass == OpPass::backward_input ? block->backward_input
                                                        : block->backward_weight;
    for (const Op& op : list) software.add_kernels(op, kernels);
  }
  return kernels;
}

std::vector<Op> kernels_of(const LayerOps& ops, const Software& software, OpPass pass, Module module) {
  std::vector<Op> kernels = kernels_of(ops, software, pass);
  std::erase_if(kernels, [&](const Op& kernel) { return kernel.module != module; });
  return kernels;
}

std::int64_t waits(const std::vector<Op>& kernels) {
  std::int64_t sum = 0;
  for (const Op& kernel : kernels) sum += kernel.waits;
  return sum;
}

/// Microseconds on an H200 without the gaps between kernels.
double microseconds(const std::vector<Op>& kernels, KernelClass kernel_class) {
  const Device h200 = testing::device("h200.json");
  Time sum;
  for (const Op& kernel : kernels) {
    if (kernel.kernel_class == kernel_class)
      sum += make_roofline()->time(kernel, h200, 0).time - h200.launch_overhead * kernel.kernels;
  }
  return to_seconds(sum) * 1e6;
}

double bytes(const std::vector<Op>& kernels, KernelClass kernel_class) {
  double sum = 0;
  for (const Op& kernel : kernels)
    sum += kernel.kernel_class == kernel_class ? static_cast<double>(kernel.bytes.count) : 0;
  return sum;
}

std::int64_t kept(const LayerOps& ops) {
  return (ops.attention.activations + ops.feed_forward.activations).count;
}

const std::string eight_experts = grouped_query + R"(, "moe": {"experts": 8, "top_k": 2, "width": 14336})";

}  // namespace

// Mixtral, 1 x 2048, experts eager: 83 waits in two layers of eight experts and one before them.
TEST_CASE("One by one, the host waits once a layer and five times for each expert that has tokens") {
  const std::unique_ptr<const Software> eager = software(R"(, "experts": "eager")");
  const auto waits_for = [&](const std::vector<std::int64_t>& rows) {
    return waits(kernels_of(layer(model(eight_experts), *eager, 1, 2048, rows), *eager, OpPass::forward));
  };
  CHECK(waits_for(std::vector<std::int64_t>(8, 512)) == 1 + 5 * 8);
  CHECK(waits_for({4000, 0, 0, 96, 0, 0, 0, 0}) == 1 + 5 * 2);
  CHECK(waits(kernels_of(layer(model(eight_experts), *eager, 1, 2048, std::vector<std::int64_t>(8, 512)),
                         *eager, OpPass::backward_input)) == 0);
}

// Twenty in the profile, five of which are copies to the host, which its waits stand for.
TEST_CASE("One by one, a forward takes fifteen launches for each expert") {
  const std::unique_ptr<const Software> eager = software(R"(, "experts": "eager")");
  const auto launches = [&](const std::vector<std::int64_t>& rows) {
    std::int64_t sum = 0;
    const LayerOps ops = layer(model(eight_experts), *eager, 1, 2048, rows);
    for (const Op& kernel : kernels_of(ops, *eager, OpPass::forward)) sum += kernel.kernels;
    return sum;
  };
  CHECK(launches({1024, 1024, 1024, 1024, 0, 0, 0, 0}) - launches({2048, 2048, 0, 0, 0, 0, 0, 0}) == 2 * 15);
}

TEST_CASE("Backward of a picked matrix fills a whole stack for each expert, and adds all of them up") {
  const std::unique_ptr<const Software> eager = software(R"(, "experts": "eager")");
  const LayerOps ops = layer(model(eight_experts), *eager, 1, 2048, std::vector<std::int64_t>(8, 512));
  const std::vector<Op> kernels = kernels_of(ops, *eager, OpPass::backward_weight);
  constexpr double matrices = 3.0 * 4096 * 14336, stacks = 8 * matrices;
  const double loop = 8 * (2 * stacks + 4 * matrices) + 7 * 6 * stacks;
  CHECK(bytes(kernels, KernelClass::streaming) == Approx(loop).epsilon(1e-6));
  CHECK(microseconds(kernels, KernelClass::streaming) ==
        Approx((13'260 + 2'707 + 27'096) / 2.0).epsilon(0.08));
}

// Four layers of Llama 3 8B at 2,048 tokens: 93 kernels and 6,380 us forward, 132 and 6,771 us backward, of
// which rotary embeddings take 705 and 1,300.
TEST_CASE("Eager attention goes over whole squares of scores, as long as profiled, and keeps them twice") {
  const std::unique_ptr<const Software> eager = software(R"(, "attention": "eager")");
  const std::unique_ptr<const Software> fused = software("");
  const LayerOps ops = layer(llama(), *eager, 1, 2048);
  const auto streaming = [&](OpPass pass) {
    std::vector<Op> kernels;
    for (const Op& op : pass == OpPass::forward ? ops.attention.forward : ops.attention.backward_input)
      if (op.module == Module::core) eager->add_kernels(op, kernels);
    return microseconds(kernels, KernelClass::streaming);
  };
  CHECK(streaming(OpPass::forward) ==
        Approx(126.8 + 331.7 + 382.5 + 341.1 + 185.9 + 2 * 22.7 + 20.8).epsilon(0.06));
  CHECK(streaming(OpPass::backward_input) ==
        Approx(383.8 + 369.9 + 371.5 + 182.6 + 125.9 + 13.9 + 38.7 + 7.5).epsilon(0.06));
  constexpr std::int64_t s = 2048, scores = 32 * s * s, repeated = 2 * 2 * s * (32 - 8) * 128,
                         sums = 4 * s * 32;
  CHECK(kept(ops) - kept(layer(llama(), *fused, 1, 2048)) == 6 * scores + repeated - sums);
}

// 4 x 2048 with a mask: 773.6 and 2,406.1 us against 264.2 and 725.3 of the causal kernel of as many tokens.
TEST_CASE("A mask of padding makes torch's attention compute whole squares, and is kept") {
  const std::unique_ptr<const Software> masked = software(R"(, "mask": "given")");
  const std::unique_ptr<const Software> causal = software("");
  const auto core = [&](const Software& by, OpPass pass) {
    return microseconds(kernels_of(layer(llama(), by, 4, 2048), by, pass), KernelClass::attention);
  };
  CHECK(core(*masked, OpPass::forward) == Approx(773.6).epsilon(0.06));
  CHECK(core(*masked, OpPass::backward_input) == Approx(2406 + 68 + 56).epsilon(0.08));
  CHECK(core(*masked, OpPass::forward) > 2.5 * core(*causal, OpPass::forward));
  constexpr std::int64_t repeated = 2 * 2 * 4 * 2048 * (32 - 8) * 128;
  CHECK(kept(layer(llama(), *masked, 4, 2048)) - kept(layer(llama(), *causal, 4, 2048)) ==
        2 * 4 * 2048 * 2048 + repeated);
}

// 2 x 32 heads of 128 at 4,096 tokens: flash-attn 2 takes 889 and 2,488 us, cuDNN 468 and 1,399.
TEST_CASE("The library flash-attn takes longer than cuDNN's kernels, and needs no mask") {
  const auto core = [&](const std::string& keys, OpPass pass) {
    const std::unique_ptr<const Software> one = software(keys);
    const Model many =
        model(R"("attention": {"kind": "multi_head", "heads": 32}, "feed_forward": {"width": 64})");
    return microseconds(kernels_of(layer(many, *one, 2, 4096), *one, pass), KernelClass::attention);
  };
  const std::string flash = R"(, "attention": "flash")";
  CHECK(core(flash, OpPass::forward) == Approx(889).epsilon(0.05));
  CHECK(core(flash, OpPass::backward_input) == Approx(2488).epsilon(0.05));
  CHECK(core(flash + R"(, "mask": "given")", OpPass::forward) == core(flash, OpPass::forward));
}

// gpt-oss, 1 x 4096: kernels of a layer between its products.
TEST_CASE("A model with sinks has them beside its scores, as long as profiled, whatever is asked") {
  const Model sinks = model(
      R"("attention": {"kind": "grouped_query", "heads": 64, "kv_heads": 8, "head_dim": 64, "sinks": true},
         "feed_forward": {"width": 64})");
  const std::unique_ptr<const Software> fused = software("");
  const LayerOps ops = layer(sinks, *fused, 1, 4096);
  const auto streaming = [&](OpPass pass) {
    std::vector<Op> kernels;
    for (const Op& op : pass == OpPass::forward ? ops.attention.forward : ops.attention.backward_input)
      if (op.module == Module::core) fused->add_kernels(op, kernels);
    return microseconds(kernels, KernelClass::streaming);
  };
  CHECK(streaming(OpPass::forward) ==
        Approx(999 + 2827 + 6347 + 2 * 475 + 2 * 1301 + 4569 + 2 * 39 + 43).epsilon(0.06));
  CHECK(streaming(OpPass::backward_input) ==
        Approx(633 + 2483 + 1462 + 3054 + 996 + 586 + 633 + 1462 + 75 + 2533 + 18 + 77 + 8).epsilon(0.06));
}

// DeepSeek-V3's attention at 4,096 tokens and 32 heads, between its products.
TEST_CASE("Latent attention puts queries and keys together from their parts, as long as profiled") {
  const Model latent = model(R"("attention": {"kind": "latent", "heads": 32, "q_lora_rank": 1536,
      "kv_lora_rank": 512, "nope_head_dim": 128, "rope_head_dim": 64, "value_head_dim": 128},
      "feed_forward": {"width": 64})");
  const std::unique_ptr<const Software> eager = software("");
  const LayerOps ops = layer(latent, *eager, 1, 4096);
  const auto rotary = [&](OpPass pass) {
    return microseconds(kernels_of(ops, *eager, pass, Module::rotary), KernelClass::streaming);
  };
  CHECK(rotary(OpPass::forward) == Approx(327).epsilon(0.06));
  CHECK(rotary(OpPass::backward_input) == Approx(693).epsilon(0.06));
}

TEST_CASE("Under autocast each product casts its matrix, and keeps the cast with a copy of its input") {
  const std::unique_ptr<const Software> cast = software(R"(, "autocast": true)");
  const LayerOps ops = layer(llama(), *cast, 1, 4096);
  constexpr std::int64_t t = 4096, h = 4096, k = 1024, w = 14336, n = t * h;
  CHECK(kept(ops) == 16 * n + 8 * t + 4 * h * h + 4 * h * k + 6 * h * w + 10 * n + 4 * t * k + 4 * n +
                         128 * t + 8 * t * w);
  std::vector<Op> kernels = kernels_of(ops, *cast, OpPass::forward, Module::projection);
  const double casts = 6.0 * (2 * h * h + 2 * h * k + 3 * h * w + 5 * n);
  CHECK(bytes(kernels, KernelClass::streaming) == Approx(casts).epsilon(1e-6));
}

TEST_CASE("Where torch has no grouped product in fp32, the host reads where experts begin") {
  const std::unique_ptr<const Software> cast = software(R"(, "autocast": true)");
  const LayerOps ops = layer(model(eight_experts), *cast, 1, 4096, std::vector<std::int64_t>(8, 1024));
  CHECK(waits(kernels_of(ops, *cast, OpPass::forward)) == 2);
  CHECK(waits(kernels_of(ops, *cast, OpPass::backward_input)) == 2);
  CHECK(waits(kernels_of(ops, *cast, OpPass::backward_weight)) == 2);
  CHECK(bytes(kernels_of(ops, *cast, OpPass::forward), KernelClass::grouped) == 0);
}

TEST_CASE("A checkpoint stops where nothing is left to be kept") {
  const std::unique_ptr<const Software> eager = software("");
  const auto products = [&](const std::vector<Op>& kernels) {
    return std::count_if(kernels.begin(), kernels.end(), [](const Op& kernel) {
      return kernel.kind == OpKind::gemm && kernel.pass == OpPass::forward;
    });
  };
  const LayerOps dense = layer(llama(), *eager, 1, 4096, {}, true);
  CHECK(products(kernels_of(dense, *eager, OpPass::forward)) == 7);
  CHECK(products(kernels_of(dense, *eager, OpPass::backward_input)) == 6);
  const std::vector<std::int64_t> rows(8, 1024);
  const LayerOps once = layer(model(eight_experts), *eager, 1, 4096, rows);
  const LayerOps again = layer(model(eight_experts), *eager, 1, 4096, rows, true);
  const auto of_sums = [&](const LayerOps& ops) {
    return bytes(kernels_of(ops, *eager, OpPass::backward_input, Module::unpermute), KernelClass::streaming);
  };
  CHECK(of_sums(again) - of_sums(once) == Approx(6.0 * 8192 * 4096).epsilon(1e-6));
}

TEST_CASE("Experts with biases cut their gates, and add them up where few places take many rows") {
  const std::string with_bias = R"("attention": {"kind": "grouped_query", "heads": 32, "kv_heads": 8},
      "moe": {"experts": 32, "top_k": 4, "width": 2880, "bias": true, "router_bias": true})";
  const std::unique_ptr<const Software> eager = software("");
  const LayerOps ops = layer(model(with_bias), *eager, 1, 4096, std::vector<std::int64_t>(32, 512));
  const std::vector<Op> weights = kernels_of(ops, *eager, OpPass::backward_weight);
  CHECK(microseconds(weights, KernelClass::gather_scatter) == Approx(846 + 907).epsilon(0.06));
}

TEST_CASE("In batches each choice has a matrix of its own") {
  const std::unique_ptr<const Software> eager = software(R"(, "experts": "batched_mm")");
  const LayerOps ops = layer(model(eight_experts), *eager, 1, 32, std::vector<std::int64_t>(8, 8));
  const std::vector<Op> kernels = kernels_of(ops, *eager, OpPass::forward, Module::experts);
  CHECK(bytes(kernels_of(ops, *eager, OpPass::forward), KernelClass::gather_scatter) >
        4.0 * 64 * 3 * 4096 * 14336);
  CHECK(std::all_of(kernels.begin(), kernels.end(),
                    [](const Op& kernel) { return kernel.kernel_class != KernelClass::grouped; }));
}

TEST_CASE("Whatever is chosen, the kernels of a layer have its FLOPs, pass by pass") {
  const Model deepseek = model(R"("attention": {"kind": "latent", "heads": 32, "q_lora_rank": 1536,
      "kv_lora_rank": 512, "nope_head_dim": 128, "rope_head_dim": 64, "value_head_dim": 128},
      "moe": {"experts": 8, "top_k": 4, "width": 512, "groups": 2, "chosen_groups": 1, "shared_experts": 1,
              "router_bias": true})");
  const std::vector<std::int64_t> rows{4096, 0, 2048, 1, 2047, 0, 4096, 4096};
  const auto flops = [](const std::vector<Op>& ops) {
    double sum = 0;
    for (const Op& op : ops) sum += op.flops.count;
    return sum;
  };
  for (const std::string keys :
       {"", R"(, "experts": "eager")", R"(, "experts": "batched_mm")", R"(, "autocast": true)",
        R"(, "experts": "eager", "autocast": true)", R"(, "mask": "given")", R"(, "attention": "flash")"}) {
    INFO(keys);
    const std::unique_ptr<const Software> one = software(keys);
    const LayerOps ops = layer(deepseek, *one, 1, 4096, rows);
    std::vector<Op> forward = ops.attention.forward, input = ops.attention.backward_input,
                    weight = ops.attention.backward_weight;
    forward.insert(forward.end(), ops.feed_forward.forward.begin(), ops.feed_forward.forward.end());
    input.insert(input.end(), ops.feed_forward.backward_input.begin(), ops.feed_forward.backward_input.end());
    weight.insert(weight.end(), ops.feed_forward.backward_weight.begin(),
                  ops.feed_forward.backward_weight.end());
    CHECK(flops(kernels_of(ops, *one, OpPass::forward)) == Approx(flops(forward)).epsilon(1e-9));
    CHECK(flops(kernels_of(ops, *one, OpPass::backward_input)) == Approx(flops(input)).epsilon(1e-9));
    CHECK(flops(kernels_of(ops, *one, OpPass::backward_weight)) == Approx(flops(weight)).epsilon(1e-9));
  }
}

TEST_CASE("Kernels whose operands 32 bits do not count are cut in parts") {
  const std::unique_ptr<const Software> eager = software("");
  const auto launches = [&](std::int64_t tokens) {
    Op op = make_streaming(OpKind::elementwise, "loss", OpPass::backward_input, tokens, 128'256, 10,
                           Module::loss);
    std::vector<Op> kernels;
    eager->add_kernels(op, kernels);
    return kernels.size();
  };
  // 4 x 4096: 11 kernels, one of them for its counters.
  CHECK(launches(4'096) == 4);
  CHECK(launches(8'192) == 6);
  CHECK(launches(16'384) == 10);
}

TEST_CASE("A gate of shared experts is one number a token, which their result is multiplied with") {
  const std::unique_ptr<const Software> eager = software("");
  const auto moved = [&](OpPass pass) {
    const Op gate =
        make_streaming(OpKind::elementwise, "shared gate", pass, 4096, 2048, 4, Module::shared_gate);
    std::vector<Op> kernels;
    eager->add_kernels(gate, kernels);
    return bytes(kernels, KernelClass::streaming) / (4096.0 * 2048);
  };
  CHECK(moved(OpPass::forward) == Approx(4).epsilon(1e-5));
  CHECK(moved(OpPass::backward_input) == Approx(12).epsilon(1e-5));
}

TEST_CASE("Sorting is many kernels, and one call of the host") {
  const std::unique_ptr<const Software> eager = software("");
  const auto calls = [](const std::vector<Op>& kernels) {
    std::int64_t sum = 0;
    for (const Op& kernel : kernels) sum += kernel.calls < 0 ? kernel.kernels : kernel.calls;
    return sum;
  };
  Op few = make_streaming(OpKind::permute, "permute", OpPass::forward, 1'024, 4096, 3, Module::permute);
  Op many = make_streaming(OpKind::permute, "permute", OpPass::forward, 65'536, 4096, 3, Module::permute);
  std::vector<Op> of_few, of_many;
  eager->add_kernels(few, of_few);
  eager->add_kernels(many, of_many);
  CHECK(calls(of_few) == calls(of_many));
  CHECK(of_many.front().kernels > of_few.front().kernels);
}

// qwen3-moe, grouped_mm: forward has 43 kernels that gather and scatter at 64 and 512 tokens of eight
// choices.
TEST_CASE("Choices are sorted at once up to 4,096, and rows put at their places up to 2,048") {
  const std::unique_ptr<const Software> eager = software("");
  const auto launches = [&](std::int64_t choices, OpPass pass) {
    std::vector<Op> kernels;
    eager->add_kernels(make_streaming(OpKind::permute, "permute", pass, choices, 4096, 3, Module::permute),
                       kernels);
    std::int64_t sum = 0;
    for (const Op& kernel : kernels)
      if (kernel.kernel_class == KernelClass::gather_scatter) sum += kernel.kernels;
    return sum;
  };
  CHECK(launches(4'096, OpPass::forward) == launches(512, OpPass::forward));
  CHECK(launches(4'097, OpPass::forward) > launches(4'096, OpPass::forward));
  CHECK(launches(2'048, OpPass::backward_input) == launches(512, OpPass::backward_input));
  CHECK(launches(2'049, OpPass::backward_input) == launches(2'048, OpPass::backward_input) + 2 * 3);
}
