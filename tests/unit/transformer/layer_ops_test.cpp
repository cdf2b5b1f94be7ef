#include <fmt/format.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <initializer_list>
#include <string>

#include "models/config/document.hpp"
#include "models/transformer/layer_ops.hpp"

using namespace moesim;

namespace {

Model load(const std::string& name) {
  const Value document = load_document(fmt::format("{}/configs/models/{}.json", MOESIM_SOURCE, name));
  Reader reader(document, "");
  return read_model(reader);
}

/// A share with every expert on the device and as many rows for each, but for a rest.
struct Balanced {
  std::vector<std::int64_t> rows;
  Share share;
};

Balanced balanced(const Model& model, std::size_t layer, Share share) {
  const Experts& e = model.layers[layer].experts;
  Balanced result{{}, share};
  if (model.layers[layer].is_moe) {
    const std::int64_t sent = share.tokens() * e.top_k;
    for (std::int64_t i = 0; i < e.count; ++i)
      result.rows.push_back(sent / e.count + (i < sent % e.count ? 1 : 0));
    result.share.dispatched_rows = sent / share.tensor;
  }
  return result;
}

/// FLOPs of all products of a block in the three passes.
double products(const BlockOps& block) {
  return total_flops(block.forward).count + total_flops(block.backward_input).count +
         total_flops(block.backward_weight).count;
}

double products(const LayerOps& layer) { return products(layer.attention) + products(layer.feed_forward); }

LayerOps lower(const Model& model, std::size_t layer, const Share& share, const Recompute& recompute = {}) {
  Balanced b = balanced(model, layer, share);
  b.share.expert_rows = b.rows;
  return lower_layer(model, layer, b.share, recompute);
}

/// Products of a whole step of one microbatch on one rank.
double step_products(const Model& model, const Share& share, bool with_prediction) {
  double sum = products(lower_head(model, share, true)) *
               static_cast<double>(1 + (with_prediction ? model.prediction_layers : 0));
  for (std::size_t i = 0; i < model.layers.size(); ++i) {
    if (with_prediction || !model.is_prediction(i)) sum += products(lower(model, i, share));
  }
  return sum;
}

const Op* find(const std::vector<Op>& ops, std::string_view name) {
  for (const Op& op : ops) {
    if (op.name == name) return &op;
  }
  return nullptr;
}

constexpr std::int64_t sequence = 4096;
constexpr std::initializer_list<const char*> all_models{
    "deepseek-v3",  "deepseek-v2",    "mixtral-8x7b",   "mixtral-8x22b",  "qwen3-235b-a22b",
    "gpt-oss-120b", "glm-4.5",        "llama3-70b",     "llama-3.1-405b", "qwen-72b",
    "gpt3-175b",    "megascale-352b", "qwen2-57b-a14b", "qwen3-30b-a3b",  "mixtral-8x22b-g8t8",
    "llama3-8x70b", "gshard-600b",    "switch-base",    "switch-xxl",     "switch-c",
    "tiny"};

}  // namespace

TEST_CASE("Products of all layers and passes are the model's training FLOPs") {
  for (const char* name : all_models) {
    INFO(name);
    const Model model = load(name);
    const Share share{.sequences = 2, .sequence_length = sequence};
    const auto tokens = static_cast<double>(share.tokens());
    CHECK(step_products(model, share, false) ==
          Approx(training_flops_per_token(model, sequence).count * tokens).epsilon(1e-12));
    CHECK(step_products(model, share, true) ==
          Approx(training_flops_per_token(model, sequence, true, true).count * tokens).epsilon(1e-12));
  }
}

TEST_CASE("Tensor, expert-tensor and context parallelism share the products out without adding any") {
  for (const char* name :
       {"deepseek-v3", "mixtral-8x7b", "llama3-70b", "gpt3-175b", "switch-base", "glm-4.5"}) {
    const Model model = load(name);
    const double whole = step_products(model, {.sequence_length = sequence}, true);
    for (const std::int64_t tensor : {1, 2, 4}) {
      for (const std::int64_t context : {1, 2, 8}) {
        INFO(name << " tensor " << tensor << " context " << context);
        const Share share{
            .sequence_length = sequence, .tensor = tensor, .context = context, .expert_tensor = tensor};
        CHECK(step_products(model, share, true) * static_cast<double>(tensor * context) ==
              Approx(whole).epsilon(1e-12));
      }
    }
  }
}

TEST_CASE("Recomputing everything adds one forward, and keeps only the layer's input") {
  for (const char* name : {"deepseek-v3", "gpt3-175b", "switch-base"}) {
    INFO(name);
    const Model model = load(name);
    const std::size_t layer = model.layers.size() - 1;
    const Share share{.sequence_length = sequence};
    const LayerOps kept = lower(model, layer, share);
    const LayerOps again = lower(model, layer, share, {.full = true});
    const double forward =
        total_flops(kept.attention.forward).count + total_flops(kept.feed_forward.forward).count;
    CHECK(products(again) == Approx(products(kept) + forward).epsilon(1e-14));
    CHECK(again.attention.activations.count == 2 * sequence * model.hidden);
    CHECK(again.feed_forward.activations.count == 0);
    CHECK(again.attention.backward_input.front().pass == OpPass::forward);
    CHECK(again.attention.backward_input.size() ==
          kept.attention.forward.size() + kept.attention.backward_input.size());
  }
}

TEST_CASE("Activations of a GPT layer are Korthikanti's less scores, and without dropout less its masks") {
  // arXiv 2205.05198: 34 s b h + 5 a s^2 b a layer; without sequence parallelism 10 of the 34 stay on every
  // rank. Dropout masks are 2 of the 34 (both among the 10), and log-sum-exp in fp32 takes the place of the
  // scores.
  const Model gpt = load("gpt3-175b");
  const std::int64_t s = 2048, b = 3, h = 12288, a = 96;
  for (const std::int64_t t : {1, 2, 8}) {
    for (const bool sequence_parallel : {false, true}) {
      INFO("tensor " << t << (sequence_parallel ? " with" : " without") << " sequence parallelism");
      Share share{.sequences = b, .sequence_length = s, .tensor = t, .sequence_parallel = sequence_parallel};
      const LayerOps layer = lower(gpt, 0, share);
      const std::int64_t kept = layer.attention.activations.count + layer.feed_forward.activations.count;
      const std::int64_t undivided = sequence_parallel ? 0 : 8;
      CHECK(kept == s * b * h * undivided + s * b * h * (32 - undivided) / t + 4 * a * s * b / t);
      share.dropout = true;
      const LayerOps dropping = lower(gpt, 0, share);
      CHECK(dropping.attention.activations.count + dropping.feed_forward.activations.count - kept ==
            2 * s * b * h / (sequence_parallel ? t : 1));
    }
  }
}

TEST_CASE("Each choice of recomputation frees what it computes again, and costs what it says") {
  const Model v3 = load("deepseek-v3");
  const Share share{.sequence_length = sequence};
  const auto memory = [&](const Recompute& recompute) {
    const LayerOps layer = lower(v3, 10, share, recompute);
    return layer.attention.activations.count + layer.feed_forward.activations.count;
  };
  const auto work = [&](const Recompute& recompute) { return products(lower(v3, 10, share, recompute)); };
  const std::int64_t all = memory({});
  const double once = work({});
  const std::int64_t s = sequence, h = 7168, rows = 8 * s, w = 2048;
  // Two norms of the hidden state and two of latents; outputs of SwiGLU in routed and shared experts.
  CHECK(all - memory({.norm = true}) == 2 * s * (2 * h + 1536 + 512));
  CHECK(work({.norm = true}) == once);
  CHECK(all - memory({.activation = true}) == 2 * (rows + s) * w);
  CHECK(work({.activation = true}) == once);
  // Queries and keys of 192 and values of 128 for each of 128 heads.
  CHECK(all - memory({.latent = true}) == 2 * s * 128 * (192 + 192 + 128));
  CHECK(work({.latent = true}) == Approx(once + 2.0 * s * 128 * (1536 * 192 + 512 * 256)));
  CHECK(all - memory({.attention = true}) == 4 * s * 128);
  CHECK(work({.attention = true}) == Approx(once + 2.0 * 128 * s * s / 2 * (192 + 128)));
  // Both halves and the product of each; the first product runs again.
  CHECK(all - memory({.experts = true}) == 2 * (rows + s) * 3 * w);
  CHECK(work({.experts = true}) == Approx(once + 2.0 * (rows + s) * 2 * w * h));
}

TEST_CASE("A layer of DeepSeek-V3 has the products of its paper, in its shapes") {
  const Model v3 = load("deepseek-v3");
  const LayerOps layer = lower(v3, 5, {.sequence_length = sequence});
  const auto shape = [&](const std::vector<Op>& ops, std::string_view name) {
    const Op* op = find(ops, name);
    REQUIRE(op != nullptr);
    return std::vector<std::int64_t>{op->m, op->n, op->k};
  };
  const std::vector<Op>& forward = layer.attention.forward;
  CHECK(shape(forward, "q_a down-projection") == std::vector<std::int64_t>{4096, 1536, 7168});
  CHECK(shape(forward, "q_b up-projection") == std::vector<std::int64_t>{4096, 24576, 1536});
  CHECK(shape(forward, "kv_a down-projection") == std::vector<std::int64_t>{4096, 576, 7168});
  CHECK(shape(forward, "kv_b up-projection") == std::vector<std::int64_t>{4096, 32768, 512});
  CHECK(shape(forward, "output projection") == std::vector<std::int64_t>{4096, 7168, 16384});
  CHECK(shape(layer.attention.backward_input, "q_b up-projection") ==
        std::vector<std::int64_t>{4096, 1536, 24576});
  CHECK(shape(layer.attention.backward_weight, "q_b up-projection") ==
        std::vector<std::int64_t>{24576, 1536, 4096});
  const Op* core = find(forward, "attention");
  REQUIRE(core != nullptr);
  CHECK(core->head_dim == 192);
  CHECK(core->value_head_dim == 128);
  CHECK(core->kv_heads == 128);
  CHECK(forward.back().kind == OpKind::permute);
  CHECK(layer.attention.backward_input.front().kind == OpKind::unpermute);
  const Op* experts = find(layer.feed_forward.forward, "expert first projection");
  REQUIRE(experts != nullptr);
  CHECK(experts->rows == std::vector<std::int64_t>(256, 128));
  CHECK(experts->n == 4096);
  CHECK(experts->k == 7168);
  const Op* gradient = find(layer.feed_forward.backward_weight, "expert first projection");
  REQUIRE(gradient != nullptr);
  CHECK(gradient->rows_are_depth);
  CHECK(find(layer.feed_forward.forward, "rows to experts") == nullptr);
  CHECK(layer.feed_forward.forward.back().name == "feed-forward residual");
}

TEST_CASE("Bytes of the basic ops are counted by hand") {
  // Operands once; the weight pass reads and writes fp32; fp8 writes bf16.
  CHECK(make_gemm("x", OpPass::forward, 10, 20, 30, Precision::bf16).bytes.count == 2 * (300 + 600 + 200));
  CHECK(make_gemm("x", OpPass::forward, 10, 20, 30, Precision::fp8).bytes.count == 300 + 600 + 2 * 200);
  CHECK(make_gemm("x", OpPass::backward_weight, 10, 20, 30, Precision::bf16).bytes.count ==
        2 * 900 + 8 * 200);
  CHECK(make_gemm("x", OpPass::forward, 10, 20, 30, Precision::bf16).flops.count == 12000);
  const Op grouped = make_grouped_gemm("x", OpPass::forward, {3, 0, 5}, 20, 30, Precision::bf16);
  CHECK(grouped.flops.count == 2 * 8 * 600);
  CHECK(grouped.bytes.count == 2 * (8 * 30 + 2 * 600 + 8 * 20));
  const Op gradient = make_grouped_gemm("x", OpPass::backward_weight, {3, 0, 5}, 20, 30, Precision::bf16);
  CHECK(gradient.flops.count == grouped.flops.count);
  CHECK(gradient.bytes.count == 2 * 8 * 50 + 8 * 2 * 600);
  const AttentionShape shape{.batch = 2,
                             .heads = 4,
                             .kv_heads = 2,
                             .sequence = 8,
                             .kv_sequence = 8,
                             .head_dim = 6,
                             .value_head_dim = 4};
  const Op attention = make_attention(OpPass::forward, shape, Precision::bf16);
  CHECK(attention.flops.count == 2 * 2 * 4 * 32 * 10);
  CHECK(attention.bytes.count == 2 * (64 + 32) * 10 + 4 * 64);
  CHECK(make_attention(OpPass::backward_input, shape, Precision::bf16).flops.count ==
        2 * attention.flops.count);
  CHECK(make_streaming(OpKind::swiglu, "x", OpPass::forward, 7, 16, 6).bytes.count == 672);
}

TEST_CASE(
    "fp8 puts the products of a layer in fp8, its casts beside them, and spares attention, router and head") {
  const Model v3 = load("deepseek-v3");
  const Share share{.sequence_length = sequence, .gemm = Precision::fp8, .dispatch = Precision::fp8};
  const LayerOps layer = lower(v3, 5, share);
  const auto count_casts = [](const std::vector<Op>& ops) {
    return std::count_if(ops.begin(), ops.end(), [](const Op& op) { return op.name == "fp8 cast"; });
  };
  // Inputs of q_a and kv_a together, q_b, kv_b, output; the dispatched rows: one cast each.
  CHECK(count_casts(layer.attention.forward) == 5);
  // Gradients of the five products.
  CHECK(count_casts(layer.attention.backward_input) == 5);
  CHECK(count_casts(layer.attention.backward_weight) == 9);  // q_a and kv_a share their input
  // Routed and shared: the second product's input; rows arrive in fp8.
  CHECK(count_casts(layer.feed_forward.forward) == 2);
  for (const Op& op : layer.attention.forward) {
    if (op.kind == OpKind::gemm) CHECK((op.precision == Precision::fp8) == (op.name != "router projection"));
    if (op.kind == OpKind::attention) CHECK(op.precision == Precision::bf16);
  }
  CHECK(find(lower_head(v3, share, true).forward, "head projection")->precision == Precision::bf16);
  CHECK(products(layer) == Approx(products(lower(v3, 5, {.sequence_length = sequence}))));
  CHECK(layer.feed_forward.activations <
        lower(v3, 5, {.sequence_length = sequence}).feed_forward.activations);
}

TEST_CASE("Uneven rows cost the sum of their products, and no rows leave no work behind") {
  const Model mixtral = load("mixtral-8x7b");
  const std::vector<std::int64_t> rows{1000, 0};
  Share share{.sequence_length = 512, .expert_rows = rows, .dispatched_rows = 1024};
  const LayerOps layer = lower_layer(mixtral, 0, share, {});
  CHECK(total_flops(layer.feed_forward.forward).count == Approx(2.0 * 1000 * 3 * 4096 * 14336));
  CHECK(find(layer.feed_forward.forward, "rows to experts")->m == 1000);
  const std::vector<std::int64_t> none{0, 0};
  share.expert_rows = none;
  const LayerOps idle = lower_layer(mixtral, 0, share, {});
  CHECK(total_flops(idle.feed_forward.forward).count == 0);
  for (const Op& op : idle.feed_forward.backward_input) CHECK(op.bytes.count > 0);
}

TEST_CASE("Cross attention reads keys and values of the encoder's sequence") {
  const Model switch_base = load("switch-base");
  const Share share{.sequences = 2, .sequence_length = 114, .source_length = 512};
  const LayerOps layer = lower_layer(switch_base, 12, share, {});
  const Op* keys = find(layer.attention.forward, "cross kv projection");
  REQUIRE(keys != nullptr);
  CHECK(keys->m == 1024);
  const Op& cross = *std::find_if(layer.attention.forward.rbegin(), layer.attention.forward.rend(),
                                  [](const Op& op) { return op.kind == OpKind::attention; });
  CHECK(cross.sequence == 114);
  CHECK(cross.kv_sequence == 512);
  CHECK_FALSE(cross.causal);
  CHECK(cross.name == "cross attention");
}

TEST_CASE("Embedding and head move what their tables say") {
  const Model gpt = load("gpt3-175b");
  const Share share{.sequence_length = 2048, .tensor = 8};
  const BlockOps embedding = lower_embedding(gpt, share);
  CHECK(total_bytes(embedding.forward).count == 2048 * 12288 * 17 / 4);
  CHECK(embedding.backward_input.empty());
  const std::int64_t logits = 2048 * 51200 / 8;
  CHECK(lower_head(gpt, share, false).activations.count - lower_head(gpt, share, true).activations.count ==
        2 * logits);
  CHECK(find(lower_head(gpt, share, false).forward, "cross entropy")->bytes.count == 38 * logits);
}

TEST_CASE("Parts below one are our own mistake") {
  const Model tiny = load("tiny");
  CHECK_THROWS_AS(lower_layer(tiny, 2, {}, {}), std::logic_error);
  CHECK_THROWS_AS(lower_layer(tiny, 0, {.tensor = 0}, {}), std::logic_error);
  CHECK_THROWS_AS(lower_layer(tiny, 0, {.sequence_length = 2, .context = 4}, {}), std::logic_error);
}
