// Tensors of layers against the counts of parameters, over every model of the project.
#include <catch2/catch.hpp>
#include <filesystem>

#include "models/config/document.hpp"
#include "models/transformer/weights.hpp"

using namespace moesim;

namespace {

std::int64_t elements_of(const Weights& weights) {
  std::int64_t sum = 0;
  for (const Weight& weight : weights.matrices()) sum += weight.elements();
  return sum;
}

std::int64_t tensors_of(const Weights& weights) {
  std::int64_t sum = weights.vectors;
  for (const Weight& weight : weights.matrices()) sum += weight.tensors;
  return sum;
}

bool has_biases(const Layer& layer) {
  const Attention& a = layer.attention;
  return a.qkv_bias || a.output_bias || a.sinks || layer.feed_forward.bias || layer.experts.bias ||
         layer.experts.router_bias;
}

Model model_of(const std::string& text) {
  const Value document = parse_json(text, "test");
  Reader reader(document, "model");
  return read_model(reader);
}

std::int64_t tensors_of_layer(const Model& model, std::size_t layer) {
  return tensors_of(attention_weights(model, layer, 1)) + tensors_of(feed_forward_weights(model, layer, 1)) +
         tensors_of(expert_weights(model, layer, 1, model.layers[layer].experts.count));
}

}  // namespace

TEST_CASE("Matrices of a layer come to its parameters") {
  int checked = 0;
  for (const auto& file : std::filesystem::directory_iterator(MOESIM_SOURCE "/configs/models")) {
    if (file.path().extension() != ".json") continue;
    const Value document = load_document(file.path().string(), {});
    Reader reader(document, "");
    const Model model = read_model(reader);
    for (std::size_t layer = 0; layer < model.layers.size(); ++layer) {
      if (has_biases(model.layers[layer])) continue;
      INFO(file.path() << " layer " << layer);
      const Parameters p = layer_parameters(model, layer);
      CHECK(elements_of(attention_weights(model, layer, 1)) == p.attention);
      CHECK(elements_of(feed_forward_weights(model, layer, 1)) == p.feed_forward + p.shared + p.router);
      CHECK(elements_of(expert_weights(model, layer, 1, model.layers[layer].experts.count)) == p.experts);
      ++checked;
    }
  }
  CHECK(checked > 20);
}

TEST_CASE("Tensors are as many as a model of Hugging Face lists") {
  const Model llama = model_of(R"({"name": "test", "hidden": 4096, "vocabulary": 1000, "layers": 1,
      "attention": {"kind": "grouped_query", "heads": 32, "kv_heads": 8}, "feed_forward": {"width": 14336}})");
  CHECK(tensors_of_layer(llama, 0) == 9);
  const Model mixtral = model_of(R"({"name": "test", "hidden": 4096, "vocabulary": 1000, "layers": 1,
      "attention": {"kind": "grouped_query", "heads": 32, "kv_heads": 8},
      "moe": {"experts": 8, "top_k": 2, "width": 14336}})");
  CHECK(tensors_of_layer(mixtral, 0) == 9);
  const Model gpt_oss = model_of(R"({"name": "test", "hidden": 2880, "vocabulary": 1000, "layers": 1,
      "attention": {"kind": "grouped_query", "heads": 64, "kv_heads": 8, "head_dim": 64, "qkv_bias": true,
                    "output_bias": true, "sinks": true},
      "moe": {"experts": 32, "top_k": 4, "width": 2880, "bias": true, "router_bias": true}})");
  CHECK(tensors_of_layer(gpt_oss, 0) == 17);
}

TEST_CASE("Tensor parallelism divides every matrix but those down to latents") {
  const Model model = model_of(R"({"name": "test", "hidden": 4096, "vocabulary": 1000, "layers": 1,
      "attention": {"kind": "latent", "heads": 32, "q_lora_rank": 1536, "kv_lora_rank": 512,
                    "nope_head_dim": 128, "rope_head_dim": 64, "value_head_dim": 128},
      "feed_forward": {"width": 11008}})");
  const std::int64_t whole = down_projections(4096, model.layers[0].attention);
  const std::int64_t all = elements_of(attention_weights(model, 0, 1));
  CHECK(elements_of(attention_weights(model, 0, 4)) == whole + (all - whole) / 4);
  CHECK(elements_of(feed_forward_weights(model, 0, 4)) * 4 == elements_of(feed_forward_weights(model, 0, 1)));
}
