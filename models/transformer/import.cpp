// What each key of a configuration becomes in a model file.
#include "models/transformer/import.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>
#include <utility>

#include "models/config/reader.hpp"
#include "models/config/values.hpp"
#include "models/transformer/hugging_face.hpp"

namespace moesim {
namespace {

void set_if(Value& object, std::string_view key, bool flag) {
  if (flag) object.set(key, value_of(true));
}

/// One import under way.
class Importer {
 public:
  explicit Importer(const Value& config) : config_(config), architecture_(find_architecture(config_)) {}
  Imported run();

 private:
  void guess(std::string what) { guessed_.push_back(std::move(what)); }
  void set_name();
  Value attention();
  Value latent_attention(std::int64_t heads);
  Value plain_attention(std::int64_t heads);
  void set_biases(Value& attention);
  void set_window(Value& attention);
  std::int64_t full_attention_every();
  Value experts(std::int64_t count);
  void set_shared(Value& moe, std::int64_t width);
  bool has_score_correction();
  void set_dense_layers();
  std::int64_t expert_count() const {
    return config_.integer({"n_routed_experts", "num_experts", "num_local_experts"}, 0).value_or(0);
  }

  Config config_;
  const Architecture& architecture_;
  Value model_ = empty_object();
  std::vector<std::string> guessed_;
};

void Importer::set_name() {
  std::string name = config_.text("_name_or_path");
  name = name.substr(name.find_last_of('/') + 1);
  if (name.empty()) {
    name = architecture_.type;
    std::replace(name.begin(), name.end(), '_', '-');
    guess(fmt::format("name: taken from model_type, '{}'", name));
  }
  model_.set("name", value_of(std::string_view(name)));
}

Value Importer::latent_attention(std::int64_t heads) {
  Value attention = empty_object();
  attention.set("kind", value_of("latent"));
  attention.set("heads", value_of(heads));
  if (const auto rank = config_.integer({"q_lora_rank"})) attention.set("q_lora_rank", value_of(*rank));
  attention.set("kv_lora_rank", value_of(config_.required({"kv_lora_rank"})));
  attention.set("nope_head_dim", value_of(config_.required({"qk_nope_head_dim"})));
  attention.set("rope_head_dim", value_of(config_.required({"qk_rope_head_dim"})));
  attention.set("value_head_dim", value_of(config_.required({"v_head_dim"})));
  if (config_.flag("attention_bias", false)) {
    config_.reader().fail("attention_bias", "is true, but latent attention has no biases here");
  }
  return attention;
}

Value Importer::plain_attention(std::int64_t heads) {
  Value attention = empty_object();
  const auto given = config_.integer({"num_key_value_heads"});
  const std::int64_t kv_heads = given.value_or(heads);
  if (!given) guess(fmt::format("num_key_value_heads: not given, taken as num_attention_heads = {}", heads));
  attention.set("kind", value_of(kv_heads == heads ? "multi_head" : "grouped_query"));
  attention.set("heads", value_of(heads));
  if (kv_heads != heads) attention.set("kv_heads", value_of(kv_heads));
  if (const auto head_dim = config_.integer({"head_dim"})) {
    attention.set("head_dim", value_of(*head_dim));
  } else {
    const std::int64_t hidden = config_.required({"hidden_size"});
    if (hidden % heads != 0)
      config_.reader().fail(
          "head_dim",
          fmt::format("is missing, and hidden_size {} does not divide into {} heads", hidden, heads));
    guess(
        fmt::format("head_dim: not given, taken as hidden_size / num_attention_heads = {}", hidden / heads));
  }
  set_biases(attention);
  set_if(attention, "qk_norm", architecture_.qk_norm || config_.flag("use_qk_norm", false));
  set_if(attention, "sinks", architecture_.is_gpt_oss);
  set_window(attention);
  return attention;
}

void Importer::set_biases(Value& attention) {
  const bool by_key = config_.flag("attention_bias", false);
  const Bias bias = architecture_.bias;
  if (bias != Bias::none && bias != Bias::qkv_always && config_.find("attention_bias") == nullptr) {
    guess("attention_bias: not given, taken as false");
  }
  set_if(attention, "qkv_bias",
         bias == Bias::qkv_always ? config_.flag("qkv_bias", true) : bias != Bias::none && by_key);
  set_if(attention, "output_bias", bias == Bias::by_key && by_key);
}

/// A window counts unless use_sliding_window turns it off; the layers it spares come from layer_types.
void Importer::set_window(Value& attention) {
  const auto window = config_.integer({"sliding_window"});
  if (!window || !config_.flag("use_sliding_window",
                               architecture_.type != "qwen2_moe" && architecture_.type != "qwen3_moe"))
    return;
  const std::int64_t full_every = full_attention_every();
  if (full_every == 1) return;
  attention.set("window", value_of(*window));
  if (full_every > 0) attention.set("full_attention_every", value_of(full_every));
}

/// Every how many layers one attends to all; 0 is none.
std::int64_t Importer::full_attention_every() {
  const Value* types = config_.find("layer_types");
  if (types == nullptr || types->kind != Value::Kind::list) {
    if (!architecture_.is_gpt_oss) return 0;
    guess("layer_types: no list of layers, taken as sliding_attention and full_attention in turn");
    return 2;
  }
  const std::vector<std::string> list = config_.texts("layer_types");
  const auto first = std::find(list.begin(), list.end(), "full_attention");
  if (first == list.end()) return 0;
  const std::int64_t every = first - list.begin() + 1;
  for (std::size_t i = 0; i < list.size(); ++i) {
    const bool full = (static_cast<std::int64_t>(i) + 1) % every == 0;
    if (list[i] != (full ? "full_attention" : "sliding_attention")) {
      config_.reader().fail(
          "layer_types",
          fmt::format("has '{}' at {}, expected every run of sliding_attention to be as long and to end in "
                      "full_attention",
                      list[i], i));
    }
  }
  return every;
}

Value Importer::attention() {
  const std::int64_t heads = config_.required({"num_attention_heads"});
  return config_.find("kv_lora_rank") != nullptr ? latent_attention(heads) : plain_attention(heads);
}

bool Importer::has_score_correction() {
  const std::string method = config_.text("topk_method");
  if (!method.empty()) return method == "noaux_tc";
  if (architecture_.score_correction)
    guess("topk_method: not given, taken as noaux_tc (a score correction per expert)");
  return architecture_.score_correction;
}

void Importer::set_shared(Value& moe, std::int64_t width) {
  if (architecture_.type == "qwen2_moe") {
    const std::int64_t shared = config_.required({"shared_expert_intermediate_size"});
    moe.set("shared_experts", value_of(1));
    if (shared != width) moe.set("shared_width", value_of(shared));
    set_if(moe, "shared_gate", true);
    return;
  }
  const std::int64_t shared = config_.integer({"n_shared_experts", "num_shared_experts"}, 0).value_or(0);
  if (shared > 0) moe.set("shared_experts", value_of(shared));
}

Value Importer::experts(std::int64_t count) {
  Value moe = empty_object();
  moe.set("experts", value_of(count));
  moe.set("top_k", value_of(config_.required({"num_experts_per_tok", "experts_per_token"})));
  const std::int64_t width = config_.required(
      {architecture_.intermediate_is_expert ? "intermediate_size" : "moe_intermediate_size"});
  moe.set("width", value_of(width));
  set_shared(moe, width);
  const std::int64_t groups = config_.integer({"n_group"}).value_or(1);
  if (groups > 1) {
    moe.set("groups", value_of(groups));
    moe.set("chosen_groups", value_of(config_.required({"topk_group"})));
  }
  set_if(moe, "bias", architecture_.is_gpt_oss);
  set_if(moe, "router_bias", architecture_.is_gpt_oss || has_score_correction());
  return moe;
}

/// Which layers are dense: the first k, all but every n-th, or a list that must be the first k.
void Importer::set_dense_layers() {
  const std::int64_t step = config_.integer({"decoder_sparse_step", "moe_layer_freq"}).value_or(1);
  std::int64_t dense = config_.integer({"first_k_dense_replace"}, 0).value_or(0);
  if (config_.find("moe_layer_freq") != nullptr && step != 1) {
    config_.reader().fail("moe_layer_freq", fmt::format("is {}, expected 1", step));
  }
  if (step > 1) model_.set("moe_every", value_of(step));
  const auto listed =
      config_.reader().integers({.name = "mlp_only_layers", .help = "dense layers", .at_least = 0});
  for (std::size_t i = 0; i < listed.size(); ++i) {
    if (listed[i] != static_cast<std::int64_t>(i))
      config_.reader().fail("mlp_only_layers", "is not the first layers in order");
  }
  dense = std::max(dense, static_cast<std::int64_t>(listed.size()));
  if (dense > 0) model_.set("dense_layers", value_of(dense));
  if (dense == 0 && step == 1) return;
  Value feed_forward = empty_object();
  feed_forward.set("kind", value_of("swiglu"));
  feed_forward.set("width", value_of(config_.required({"intermediate_size"})));
  model_.set("feed_forward", std::move(feed_forward));
}

Imported Importer::run() {
  model_.set("source", value_of("imported from a Hugging Face config.json"));
  set_name();
  model_.set("hidden", value_of(config_.required({"hidden_size"})));
  model_.set("vocabulary", value_of(config_.required({"vocab_size"})));
  model_.set("layers", value_of(config_.required({"num_hidden_layers"})));
  if (const auto layers = config_.integer({"num_nextn_predict_layers"}, 0); layers.value_or(0) > 0) {
    model_.set("prediction_layers", value_of(*layers));
  }
  if (config_.find("tie_word_embeddings") == nullptr) guess("tie_word_embeddings: not given, taken as false");
  set_if(model_, "tied_embedding", config_.flag("tie_word_embeddings", false));
  model_.set("attention", attention());
  if (expert_count() == 0) {
    Value feed_forward = empty_object();
    feed_forward.set("kind", value_of("swiglu"));
    feed_forward.set("width", value_of(config_.required({"intermediate_size"})));
    set_if(feed_forward, "bias", config_.flag("mlp_bias", false));
    model_.set("feed_forward", std::move(feed_forward));
  } else {
    set_dense_layers();
    model_.set("moe", experts(expert_count()));
  }
  return {std::move(model_), std::move(guessed_)};
}

}  // namespace

Imported import_hugging_face(const Value& config) {
  if (const Value* nested = config.find("text_config");
      nested != nullptr && nested->kind == Value::Kind::object) {
    Value inner = *nested;
    const Value* tied = config.find("tie_word_embeddings");
    if (tied != nullptr && inner.find("tie_word_embeddings") == nullptr)
      inner.set("tie_word_embeddings", *tied);
    return Importer(inner).run();
  }
  return Importer(config).run();
}

}  // namespace moesim
