#include <fmt/format.h>

#include <catch2/catch.hpp>
#include <string>

#include "models/base/error.hpp"
#include "models/config/document.hpp"
#include "models/transformer/import.hpp"
#include "models/transformer/model.hpp"

using namespace moesim;
using Catch::Matchers::Message;

namespace {

Model as_model(const Value& value) {
  Reader reader(value, "");
  return read_model(reader);
}

Value configuration(const std::string& name) {
  return load_document(fmt::format("{}/tests/support/hf/{}.json", MOESIM_SOURCE, name));
}

Imported import_text(const std::string& text) { return import_hugging_face(parse_json(text, "config.json")); }

const std::string llama =
    R"({"model_type": "llama", "hidden_size": 64, "vocab_size": 100, "num_hidden_layers": 2,
  "num_attention_heads": 4, "num_key_value_heads": 4, "intermediate_size": 128, "attention_bias": false,
  "tie_word_embeddings": false)";

}  // namespace

TEST_CASE("An imported model is the one written by hand and has the published number of parameters") {
  struct Known {
    const char* name;
    std::int64_t total, active;
  };
  const Known known = GENERATE(
      Known{"deepseek-v3", 671026419200, 37552297472}, Known{"mixtral-8x7b", 46702792704, 12879925248},
      Known{"mixtral-8x22b", 140620634112, 39152031744}, Known{"qwen3-235b-a22b", 235093634560, 22190763520},
      Known{"gpt-oss-120b", 116829156672, 5711982912}, Known{"glm-4.5", 352797829024, 33632266144});
  INFO(known.name);
  Model imported = as_model(import_hugging_face(configuration(known.name)).model);
  CHECK(model_parameters(imported).total() == known.total);
  CHECK(active_parameters(imported) == known.active);
  const Model written =
      as_model(load_document(fmt::format("{}/configs/models/{}.json", MOESIM_SOURCE, known.name)));
  imported.name = written.name;
  CHECK((imported == written));
}

TEST_CASE("What the configuration leaves open is listed") {
  CHECK(import_hugging_face(configuration("deepseek-v3")).guessed ==
        std::vector<std::string>{"name: taken from model_type, 'deepseek-v3'"});
  CHECK(import_hugging_face(configuration("mixtral-8x7b")).guessed ==
        std::vector<std::string>{"name: taken from model_type, 'mixtral'",
                                 "head_dim: not given, taken as hidden_size / num_attention_heads = 128"});
  CHECK(
      import_hugging_face(configuration("glm-4.5")).guessed ==
      std::vector<std::string>{"name: taken from model_type, 'glm4-moe'",
                               "topk_method: not given, taken as noaux_tc (a score correction per expert)"});
}

TEST_CASE("gpt-oss without a list of layer types alternates its window") {
  Value config = configuration("gpt-oss-120b");
  const Model listed = as_model(import_hugging_face(config).model);
  std::erase_if(config.members, [](const auto& member) { return member.first == "layer_types"; });
  const Imported imported = import_hugging_face(config);
  CHECK((as_model(imported.model) == listed));
  CHECK(imported.guessed.back() ==
        "layer_types: no list of layers, taken as sliding_attention and full_attention in turn");
}

TEST_CASE("A dense model, a nested configuration and Qwen2-MoE's gated shared expert are imported") {
  const Model dense = as_model(import_text(llama + "}").model);
  CHECK(model_parameters(dense).total() == 2 * (4 * 64 * 64 + 3 * 64 * 128 + 2 * 64) + 2 * 6400 + 64);
  const Model nested =
      as_model(import_text(R"({"model_type": "outer", "text_config": )" + llama + "}}").model);
  CHECK((nested == dense));
  // Qwen1.5-MoE-A2.7B: 14.3 billion parameters, 2.7 active (its blog's figures, embedding included in the
  // first).
  const Model qwen =
      as_model(import_text(R"({"model_type": "qwen2_moe", "hidden_size": 2048, "vocab_size": 151936,
    "num_hidden_layers": 24, "num_attention_heads": 16, "num_key_value_heads": 16, "num_experts": 60,
    "num_experts_per_tok": 4, "moe_intermediate_size": 1408, "shared_expert_intermediate_size": 5632,
    "intermediate_size": 5632, "decoder_sparse_step": 1, "tie_word_embeddings": false})")
                   .model);
  CHECK(static_cast<double>(model_parameters(qwen).total()) == Approx(14.3e9).epsilon(0.005));
  CHECK(layer_parameters(qwen, 0).shared == 3 * 2048 * 5632 + 2048);
}

TEST_CASE("Kimi K2 has a trillion parameters, 32 billion of them active") {
  const Model kimi =
      as_model(import_text(R"({"model_type": "kimi_k2", "hidden_size": 7168, "vocab_size": 163840,
    "num_hidden_layers": 61, "first_k_dense_replace": 1, "num_attention_heads": 64, "num_key_value_heads": 64,
    "q_lora_rank": 1536, "kv_lora_rank": 512, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64,
    "v_head_dim": 128,
    "n_routed_experts": 384, "n_shared_experts": 1, "num_experts_per_tok": 8, "moe_intermediate_size": 2048,
    "intermediate_size": 18432, "n_group": 1, "topk_group": 1, "topk_method": "noaux_tc",
    "num_nextn_predict_layers": 0,
    "tie_word_embeddings": false})")
                   .model);
  // arXiv 2507.20534, table 2: 1.04T and 32.6B (without one of the two vocabulary matrices).
  CHECK(static_cast<double>(model_parameters(kimi).total()) == Approx(1.04e12).epsilon(0.015));
  CHECK(static_cast<double>(active_parameters(kimi)) == Approx(32.6e9).epsilon(0.02));
}

TEST_CASE("A configuration that cannot be translated is refused with its reason") {
  const auto check = [](const std::string& text, const std::string& message) {
    CHECK_THROWS_MATCHES(import_text(text), InputError, Message(message));
  };
  check(R"({"hidden_size": 8})",
        "config.json: model_type: is missing, expected one of deepseek_v2, deepseek_v3, kimi_k2, mixtral, "
        "qwen2_moe, "
        "qwen3_moe, gpt_oss, glm4_moe, llama");
  check(R"({"model_type": "bert"})",
        "config.json: model_type: unknown 'bert' (known: deepseek_v2, deepseek_v3, kimi_k2, mixtral, "
        "qwen2_moe, qwen3_moe, "
        "gpt_oss, glm4_moe, llama)");
  check(R"({"model_type": "llama"})", "config.json: hidden_size: is missing, expected a whole number");
  check(llama + R"(, "num_experts": 4, "num_local_experts": 8})",
        "config.json: num_local_experts: is 8, but num_experts is 4: expected the same");
  check(llama + R"(, "sliding_window": 16, "layer_types": ["full_attention", "sliding_attention"]})",
        "config.json: layer_types: has 'sliding_attention' at 1, expected every run of sliding_attention to "
        "be as long "
        "and to end in full_attention");
}
