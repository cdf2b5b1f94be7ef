#include <fmt/format.h>

#include <catch2/catch.hpp>
#include <cmath>
#include <string>

#include "models/base/error.hpp"
#include "models/config/document.hpp"
#include "models/transformer/model.hpp"

using namespace moesim;
using Catch::Matchers::Message;

namespace {

Model load(const std::string& name, const std::vector<Override>& changes = {}) {
  const Value document =
      load_document(fmt::format("{}/configs/models/{}.json", MOESIM_SOURCE, name), changes);
  Reader reader(document, "");
  return read_model(reader);
}

Model read(const std::string& text, const std::vector<Override>& changes = {}) {
  const Value document = load_document_text(text, "m.json", changes);
  Reader reader(document, "");
  return read_model(reader);
}

const std::string small = R"({"name": "small", "hidden": 8, "vocabulary": 10, "layers": 4,
  "attention": {"kind": "grouped_query", "heads": 4, "kv_heads": 2},
  "moe": {"experts": 4, "top_k": 2, "width": 6}})";

void check_error(const std::string& change, const std::string& message) {
  INFO(change);
  CHECK_THROWS_MATCHES(read(small, {parse_override(change)}), InputError, Message(message));
}

double giga(Flops flops) { return flops.count / 1e9; }

}  // namespace

TEST_CASE("Parameters equal those that the published weights hold, to the last one") {
  struct Known {
    const char* name;
    std::int64_t total, active;
  };
  const Known known = GENERATE(
      Known{"deepseek-v3", 671026419200, 37552297472}, Known{"mixtral-8x7b", 46702792704, 12879925248},
      Known{"mixtral-8x22b", 140620634112, 39152031744}, Known{"qwen3-235b-a22b", 235093634560, 22190763520},
      Known{"gpt-oss-120b", 116829156672, 5711982912}, Known{"glm-4.5", 352797829024, 33632266144});
  INFO(known.name);
  const Model model = load(known.name);
  CHECK(model_parameters(model).total() == known.total);
  CHECK(active_parameters(model) == known.active);
}

TEST_CASE("Active parameters without the input embedding are those of the model cards that count so") {
  // gpt-oss-120b's card: 116.8 billion, 5.13 of them active.
  CHECK(active_parameters_without_embedding(load("gpt-oss-120b")) == 5132849472);
  const std::int64_t looked_up = 10 * 8;  // vocabulary x hidden
  CHECK(active_parameters(read(small)) - active_parameters_without_embedding(read(small)) == looked_up);
  // A tied embedding is the head too, and so is met; learned positions are looked up only.
  const Model tied = read(small, {parse_override("tied_embedding=true"), parse_override("positions=7")});
  CHECK(active_parameters(tied) - active_parameters_without_embedding(tied) == 7 * 8);
}

TEST_CASE("Models without published weights come within two percent of the size that their paper prints") {
  CHECK(static_cast<double>(model_parameters(load("deepseek-v2")).total()) == Approx(236e9).epsilon(0.005));
  CHECK(static_cast<double>(active_parameters(load("deepseek-v2"))) == Approx(21e9).epsilon(0.02));
  CHECK(static_cast<double>(model_parameters(load("llama-3.1-405b")).total()) ==
        Approx(405e9).epsilon(0.005));
  CHECK(static_cast<double>(model_parameters(load("llama3-70b")).total()) == Approx(70e9).epsilon(0.01));
  CHECK(static_cast<double>(model_parameters(load("qwen-72b")).total()) == Approx(72e9).epsilon(0.01));
  CHECK(static_cast<double>(model_parameters(load("gpt3-175b")).total()) == Approx(175e9).epsilon(0.005));
  CHECK(static_cast<double>(model_parameters(load("switch-xxl")).total()) == Approx(395e9).epsilon(0.005));
  CHECK(static_cast<double>(model_parameters(load("switch-c")).total()) == Approx(1571e9).epsilon(0.005));
}

TEST_CASE("Sizes that a paper rounds further are met by the matrices that make them up") {
  // "600B" and "7B" are rounded to one figure; the experts alone are 618.5 and 7.25 billion.
  CHECK(model_parameters(load("gshard-600b")).experts == std::int64_t{18} * 2048 * 2 * 1024 * 8192);
  CHECK(model_parameters(load("gshard-600b")).replicated() == 18 * 2 * 1024 * 8192        // dense layers
                                                                  + 54 * 4 * 1024 * 2048  // attentions
                                                                  + 18 * 1024 * 2048      // routers
                                                                  + 128000 * 1024    // two embeddings, head
                                                                  + 92 * 2 * 1024);  // layer norms
  CHECK(model_parameters(load("switch-base")).experts == std::int64_t{12} * 128 * 3 * 768 * 2048);
  CHECK(std::round(static_cast<double>(model_parameters(load("switch-base")).total()) / 1e9) == 7);
}

TEST_CASE("The 352B model has what its published MFU and throughput say: one shared expert a layer") {
  const Model model = load("megascale-352b");
  const std::int64_t expert = std::int64_t{3} * 4096 * 14336;
  const std::int64_t attention = std::int64_t{2} * 4096 * 4096 + std::int64_t{2} * 4096 * 1024;
  const std::int64_t router = std::int64_t{32} * 4096;
  const std::int64_t head = std::int64_t{65536} * 4096;
  const std::int64_t norms = (2 * 60 + 1) * 4096;
  CHECK(model_parameters(model).total() == 60 * (33 * expert + attention + router) + 2 * head + norms);
  CHECK(model_parameters(model).total() == 351'860'133'888);
  // Products of a token: three of the experts and the shared one, attention, router and head.
  const std::int64_t routed = 60 * (3 * expert + attention + router) + head;
  const std::int64_t shared = 60 * expert;
  CHECK(std::round(static_cast<double>(routed) / 1e7) == 3450);
  CHECK(std::round(static_cast<double>(shared) / 1e7) == 1057);
  const double causal = 6.0 * 8192 * 4096 * 60;  // scores and sums, 2 x 2 x s / 2 x h, three passes
  CHECK(std::round(causal / 1e7) == 1208);
  CHECK(training_flops_per_token(model, 8192).count ==
        Approx(6.0 * static_cast<double>(routed + shared) + causal).epsilon(1e-4));
  // Section 6.1 and table 3: MFU of 989 TFLOPS x GPUs / tokens a second.
  CHECK(giga(training_flops_per_token(model, 8192)) == Approx(0.3248 * 989e3 * 240 / 272.9e3).epsilon(0.001));
  CHECK(giga(training_flops_per_token(model, 8192)) ==
        Approx(0.2789 * 989e3 * 1440 / 1407.7e3).epsilon(0.002));
}

TEST_CASE("Models of MoE Parallel Folding have the sizes in their names") {
  const auto billions = [](const char* name) {
    return static_cast<double>(model_parameters(load(name)).total()) / 1e9;
  };
  CHECK(billions("qwen2-57b-a14b") == Approx(57.4).epsilon(0.001));
  CHECK(static_cast<double>(active_parameters(load("qwen2-57b-a14b"))) == Approx(14.2e9).epsilon(0.02));
  CHECK(billions("qwen3-30b-a3b") == Approx(30.5).epsilon(0.002));
  // Cut into eight, experts are as many parameters as before; a token meets half of them.
  CHECK(model_parameters(load("mixtral-8x22b-g8t8")).experts ==
        model_parameters(load("mixtral-8x22b")).experts);
  CHECK(model_parameters(load("llama3-8x70b")).experts == std::int64_t{80} * 8 * 3 * 8192 * 28672);
}

TEST_CASE("Prediction layers of DeepSeek-V3 hold 11.5 billion parameters and count only on request") {
  const Model model = load("deepseek-v3");
  CHECK(model.layers.size() == 62);
  const std::int64_t prediction = model_parameters(model, true).total() - model_parameters(model).total();
  CHECK(prediction == layer_parameters(model, 61).total());
  CHECK(static_cast<double>(prediction) == Approx(11.5e9).epsilon(0.01));
}

TEST_CASE("Parameters of a small model are counted by hand") {
  const Model model = read(small);
  const Parameters layer = layer_parameters(model, 0);
  CHECK(layer.attention == 8 * (8 + 2 * 4) + 8 * 8);
  CHECK(layer.norms == 16);
  CHECK(layer.router == 32);
  CHECK(layer.experts == 4 * 3 * 8 * 6);
  CHECK(model_parameters(model).total() == 4 * layer.total() + 2 * 80 + 8);
  CHECK(active_parameters(model) == model_parameters(model).total() - 4 * 2 * 3 * 8 * 6);
}

TEST_CASE("Training FLOPs per token of MoE models agree with the published ones") {
  CHECK(giga(training_flops_per_token(load("deepseek-v3"), 4096)) == Approx(250).epsilon(0.003));
  CHECK(giga(training_flops_per_token(load("deepseek-v3"), 4096, false)) == Approx(280.2).epsilon(0.004));
  CHECK(giga(training_flops_per_token(load("deepseek-v2"), 4096)) == Approx(155).epsilon(0.003));
  CHECK(giga(training_flops_per_token(load("llama-3.1-405b"), 4096)) == Approx(2448).epsilon(0.012));
}

TEST_CASE("Published FLOPs of dense models are the rule 6 (12 L h^2 + h V) on the same shapes") {
  // arXiv 2505.09343, Table 2: the rule takes the feed-forward for 8 h^2 and leaves scores out. Qwen-72B's
  // has 9 h^2, so that its true products come to 442 GFLOP, 12 % above the 394 of the table.
  const auto rule = [](const Model& model) {
    const auto h = static_cast<double>(model.hidden);
    return 6 *
           (12 * static_cast<double>(model.layers.size()) * h * h +
            h * static_cast<double>(model.vocabulary)) /
           1e9;
  };
  CHECK(rule(load("qwen-72b")) == Approx(394).epsilon(0.001));
  CHECK(rule(load("llama-3.1-405b")) == Approx(2448).epsilon(0.001));
  CHECK(giga(training_flops_per_token(load("qwen-72b"), 4096)) == Approx(442.3).epsilon(0.001));
}

TEST_CASE("A window and an encoder change the scores that count") {
  const auto scores = [](const std::string& change, std::int64_t sequence, bool causal) {
    const Model model = change.empty() ? read(small) : read(small, {parse_override(change)});
    return training_flops_per_token(model, sequence, causal).count -
           training_flops_per_token(model, 1, causal).count;
  };
  // Per token, layer and head 3 x 2 x 2 x head_dim FLOPs for each pair: S / 2 pairs, or w - w^2 / (2 S).
  const double per_pair = 4 * 4 * 3 * 2 * 2 * 2;
  CHECK(scores("", 100, true) == Approx(per_pair * (50 - 0.5)));
  CHECK(scores("", 100, false) == Approx(per_pair * (100 - 1)));
  CHECK(scores("attention.window=10", 100, true) == Approx(per_pair * (10 - 0.5 - 0.5)));
  CHECK(scores("attention.window=10", 100, false) == Approx(per_pair * (10 - 1)));
  // Two encoder layers see everything; two decoder layers half of themselves and all of the encoder.
  CHECK(scores("encoder_layers=2", 100, true) == Approx(per_pair * (99 * 2 + 49.5 * 2 + 99 * 2) / 4));
}

TEST_CASE("Layers follow the patterns of their papers") {
  const Model v3 = load("deepseek-v3");
  CHECK_FALSE(v3.layers[2].is_moe);
  CHECK(v3.layers[3].is_moe);
  CHECK(v3.layers[61].is_moe);
  const Model switch_base = load("switch-base");
  CHECK_FALSE(switch_base.layers[0].is_moe);
  CHECK(switch_base.layers[1].is_moe);
  CHECK_FALSE(switch_base.layers[12].is_moe);
  CHECK_FALSE(switch_base.layers[11].causal);
  CHECK_FALSE(switch_base.layers[11].cross_attention);
  CHECK(switch_base.layers[12].causal);
  CHECK(switch_base.layers[12].cross_attention);
  const Model gpt_oss = load("gpt-oss-120b");
  CHECK(gpt_oss.layers[0].attention.window == 128);
  CHECK(gpt_oss.layers[1].attention.window == 0);
}

TEST_CASE("A model file that cannot be is refused with its reason") {
  check_error("attention.kv_heads=3", "--set: attention.kv_heads: 4 heads do not divide into 3 groups");
  check_error("attention.heads=3", "m.json: attention.kv_heads: 3 heads do not divide into 2 groups");
  check_error("moe.top_k=5", "--set: moe.top_k: is 5, expected at most the 4 experts");
  check_error("moe.groups=3", "--set: moe.groups: 4 experts do not divide into 3 groups");
  check_error("moe.chosen_groups=2", "--set: moe.chosen_groups: is 2, expected at most the 1 groups");
  check_error("dense_layers=-1", "--set: dense_layers: is -1, expected 0 to 10000");
  check_error("hidden=0", "--set: hidden: is 0, expected 1 to 1000000");
  check_error("encoder_layers=4", "--set: encoder_layers: is 4, expected 0 to 3");
  check_error("attention.full_attention_every=2",
              "--set: attention.full_attention_every: is given without a window, expected both or none");
  check_error("moe.shared_width=4", "--set: moe.shared_width: is given without shared_experts");
  check_error("attention.kind=flash",
              "--set: attention.kind: unknown 'flash' (known: multi_head, grouped_query, latent)");
  check_error("hiden=8",
              "--set: hiden: unknown key (known: attention, dense_layers, encoder_layers, feed_forward, "
              "hidden, layers, moe, "
              "moe_every, name, norm, positions, prediction_layers, source_vocabulary, tied_embedding, "
              "vocabulary; did you "
              "mean 'hidden'?)");
  CHECK_THROWS_MATCHES(read(R"({"name": "x", "hidden": 8, "vocabulary": 10, "layers": 1,
                                "attention": {"kind": "multi_head", "heads": 2}})"),
                       InputError,
                       Message("m.json: feed_forward: is missing, but the model has dense layers"));
  CHECK_THROWS_MATCHES(
      read(R"({"name": "x", "hidden": 1000000, "vocabulary": 10, "layers": 10000, "attention":
                                {"kind": "multi_head", "heads": 2},
                                "moe": {"experts": 1000000, "top_k": 1, "width": 1000000}})"),
      InputError, Message("m.json: layers: come to 3.0e+22 parameters, expected at most 9e16"));
}

TEST_CASE("Words about layers that a model has none of are refused") {
  const auto problem = [](const std::string& more) {
    try {
      read(R"({"name": "x", "hidden": 8, "vocabulary": 10, "layers": 2,
               "attention": {"kind": "multi_head", "heads": 2}, )" +
           more + "}");
    } catch (const InputError& error) {
      return std::string(error.what());
    }
    return std::string("no error");
  };
  const std::string dense = R"("feed_forward": {"width": 8})",
                    moe = R"("moe": {"experts": 2, "top_k": 1, "width": 8})";
  CHECK(problem(dense) == "no error");
  CHECK(problem(dense + R"(, "dense_layers": 0, "moe_every": 1)") == "no error");
  CHECK(problem(dense + ", " + moe + R"(, "dense_layers": 1)") == "no error");
  CHECK(problem(dense + ", " + moe) ==
        "m.json: feed_forward: is given, but every layer has experts, whose width is that of moe");
  CHECK(problem(dense + ", " + moe + R"(, "dense_layers": 0)") == "no error");
  CHECK(problem(dense + ", " + moe + R"(, "dense_layers": 2)") ==
        "m.json: moe: is given, but none of 2 layers has experts (dense_layers 2, moe_every 1)");
  CHECK(problem(dense + R"(, "dense_layers": 1)") ==
        "m.json: dense_layers: is 1, but without moe every layer is");
  CHECK(problem(dense + R"(, "moe_every": 2)") ==
        "m.json: moe_every: is 2, but without moe no layer has experts");
}

TEST_CASE("The reference lists the keys of every part of a model file") {
  const std::vector<ModelPart> parts = describe_model();
  const auto has = [&](const std::string& part, const std::string& key) {
    for (const ModelPart& each : parts) {
      if (each.name != part) continue;
      for (const Declaration& declaration : each.keys) {
        if (declaration.name == key) return !declaration.help.empty();
      }
    }
    return false;
  };
  CHECK(has("", "moe_every"));
  CHECK(has("attention (multi_head)", "head_dim"));
  CHECK(has("attention (grouped_query)", "kv_heads"));
  CHECK(has("attention (latent)", "kv_lora_rank"));
  CHECK_FALSE(has("attention (multi_head)", "kv_heads"));
  CHECK_FALSE(has("attention (latent)", "qkv_bias"));
  CHECK(has("feed_forward", "width"));
  CHECK(has("moe", "shared_experts"));
}
