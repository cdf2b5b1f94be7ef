// Model files: the keys of each part, and what they must fulfil together.
#include "models/transformer/model.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

namespace moesim {
namespace {

// Far beyond any model, and small enough that no product of three sizes overflows.
constexpr std::int64_t largest_size = 1'000'000;
constexpr std::int64_t largest_vocabulary = 100'000'000;
constexpr std::int64_t most_layers = 10'000;

constexpr std::array<std::string_view, 3> attention_kinds{"multi_head", "grouped_query", "latent"};
constexpr std::array<std::string_view, 3> feed_forward_kinds{"swiglu", "geglu", "two_matrix"};
constexpr std::array<std::string_view, 2> norm_kinds{"rms_norm", "layer_norm"};
constexpr std::size_t grouped_query = 1, latent = 2, two_matrix = 2, layer_norm = 1;

Key<std::int64_t> size_key(std::string_view name, std::string_view help) {
  return {.name = name, .help = help, .at_least = 1, .at_most = largest_size};
}

Key<std::int64_t> optional_size_key(std::string_view name, std::string_view help) {
  return {.name = name, .help = help, .fallback = 0, .at_least = 0, .at_most = largest_size};
}

bool read_flag(Reader& reader, std::string_view name, std::string_view help) {
  return reader.flag({.name = name, .help = help, .fallback = false});
}

/// Attention as its file gives it: one shape, and how often a layer does without the window.
struct AttentionPart {
  Attention attention;
  std::int64_t full_attention_every = 0;
};

void read_latent(Reader& reader, Attention& a) {
  a.q_lora_rank =
      reader.integer(optional_size_key("q_lora_rank", "size of the query latent; 0 is a plain projection"));
  a.kv_lora_rank = reader.integer(size_key("kv_lora_rank", "size of the latent of keys and values"));
  const std::int64_t nope =
      reader.integer(size_key("nope_head_dim", "part of a query or key head without position"));
  a.rope_head_dim = reader.integer(
      size_key("rope_head_dim", "part of a query or key head with position; one key for all heads"));
  a.value_head_dim = reader.integer(size_key("value_head_dim", "size of a value head"));
  a.head_dim = nope + a.rope_head_dim;
  a.kv_heads = a.heads;
}

void read_heads(Reader& reader, Attention& a, std::int64_t hidden, bool grouped) {
  a.kv_heads = a.heads;
  if (grouped) {
    a.kv_heads = reader.integer(
        size_key("kv_heads", "heads of keys and values, each shared by heads / kv_heads queries"));
    if (a.heads % a.kv_heads != 0) {
      reader.fail("kv_heads", fmt::format("{} heads do not divide into {} groups", a.heads, a.kv_heads));
    }
  }
  a.head_dim =
      reader.integer(optional_size_key("head_dim", "size of a query or key head; 0 is hidden / heads"));
  if (a.head_dim == 0 && hidden % a.heads != 0 && !reader.is_describing()) {
    reader.fail("head_dim",
                fmt::format("is missing, and hidden {} does not divide into {} heads", hidden, a.heads));
  }
  if (a.head_dim == 0) a.head_dim = std::max<std::int64_t>(1, hidden / a.heads);
  a.value_head_dim =
      reader.integer(optional_size_key("value_head_dim", "size of a value head; 0 is head_dim"));
  if (a.value_head_dim == 0) a.value_head_dim = a.head_dim;
  a.qkv_bias = read_flag(reader, "qkv_bias", "biases on queries, keys and values");
  a.output_bias = read_flag(reader, "output_bias", "a bias on the output projection");
  a.qk_norm = read_flag(reader, "qk_norm", "an RMSNorm of each query and key head");
  a.sinks = read_flag(reader, "sinks", "a learned score per head that no key answers to");
}

/// `forced` reads the keys of one kind whatever the file says: for the reference.
AttentionPart read_attention(Reader& reader, std::int64_t hidden, std::optional<std::size_t> forced = {}) {
  const std::size_t given =
      reader.choice({.name = "kind", .help = "how queries, keys and values are made"}, attention_kinds);
  const std::size_t kind = forced.value_or(given);
  AttentionPart part;
  Attention& a = part.attention;
  a.heads = reader.integer(size_key("heads", "query heads"));
  if (kind == latent) {
    read_latent(reader, a);
  } else {
    read_heads(reader, a, hidden, kind == grouped_query);
  }
  a.window = reader.integer(
      {.name = "window", .help = "keys that a query sees; 0 is all", .fallback = 0, .at_least = 0});
  part.full_attention_every = reader.integer({.name = "full_attention_every",
                                              .help = "every n-th layer does without the window; 0 is none",
                                              .fallback = 0,
                                              .at_least = 0});
  if (part.full_attention_every > 0 && a.window == 0) {
    reader.fail("full_attention_every", "is given without a window, expected both or none");
  }
  reader.finish();
  return part;
}

FeedForward read_feed_forward(Reader& reader) {
  FeedForward f;
  f.gated =
      reader.choice({.name = "kind", .help = "gated (three matrices) or two matrices", .fallback = "swiglu"},
                    feed_forward_kinds) != two_matrix;
  f.width =
      reader.integer(size_key("width", "hidden size of the feed-forward (of one half where it is gated)"));
  f.bias = read_flag(reader, "bias", "biases on every matrix");
  reader.finish();
  return f;
}

void check_experts(const Reader& reader, const Experts& e) {
  if (e.top_k > e.count)
    reader.fail("top_k", fmt::format("is {}, expected at most the {} experts", e.top_k, e.count));
  if (e.count % e.groups != 0) {
    reader.fail("groups", fmt::format("{} experts do not divide into {} groups", e.count, e.groups));
  }
  if (e.chosen_groups > e.groups) {
    reader.fail("chosen_groups",
                fmt::format("is {}, expected at most the {} groups", e.chosen_groups, e.groups));
  }
  const std::int64_t within_reach = e.chosen_groups * (e.count / e.groups);
  if (e.top_k > within_reach) {
    reader.fail("top_k", fmt::format("is {}, but {} chosen groups hold {} experts", e.top_k, e.chosen_groups,
                                     within_reach));
  }
  if (e.shared_gate && e.shared_width == 0) reader.fail("shared_gate", "is given without shared experts");
}

Experts read_experts(Reader& reader) {
  Experts e;
  e.gated =
      reader.choice({.name = "kind", .help = "gated (three matrices) or two matrices", .fallback = "swiglu"},
                    feed_forward_kinds) != two_matrix;
  e.count = reader.integer(size_key("experts", "routed experts of a layer"));
  e.top_k = reader.integer(size_key("top_k", "experts that a token is sent to"));
  e.width = reader.integer(size_key("width", "hidden size of one routed expert"));
  e.shared = reader.integer(optional_size_key("shared_experts", "experts that every token meets"));
  e.shared_width = reader.integer(optional_size_key(
      "shared_width", "hidden size of all shared experts together; 0 is shared_experts x width"));
  if (e.shared_width == 0) e.shared_width = e.shared * e.width;
  if (e.shared == 0 && e.shared_width > 0) reader.fail("shared_width", "is given without shared_experts");
  e.groups = reader.integer({.name = "groups",
                             .help = "groups of experts (nodes) for group-limited routing",
                             .fallback = 1,
                             .at_least = 1,
                             .at_most = largest_size});
  e.chosen_groups =
      reader.integer(optional_size_key("chosen_groups", "groups that a token may reach; 0 is all"));
  if (e.chosen_groups == 0) e.chosen_groups = e.groups;
  e.bias = read_flag(reader, "bias", "biases on every expert matrix");
  e.router_bias = read_flag(reader, "router_bias", "a bias or score correction per expert");
  e.shared_gate = read_flag(reader, "shared_gate", "a sigmoid gate on the shared experts");
  check_experts(reader, e);
  reader.finish();
  return e;
}

/// What the file says about the pattern of layers.
struct Pattern {
  std::int64_t layers = 1, dense_layers = 0, moe_every = 1;
  AttentionPart attention;
  std::optional<FeedForward> feed_forward;
  std::optional<Experts> experts;
};

/// Layer `position` of its stack, counted from 0.
Layer make_layer(const Pattern& pattern, std::int64_t position) {
  Layer layer;
  layer.attention = pattern.attention.attention;
  const std::int64_t full = pattern.attention.full_attention_every;
  if (full > 0 && (position + 1) % full == 0) layer.attention.window = 0;
  layer.is_moe =
      pattern.experts && position >= pattern.dense_layers && (position + 1) % pattern.moe_every == 0;
  if (layer.is_moe) {
    layer.experts = *pattern.experts;
  } else {
    layer.feed_forward = pattern.feed_forward.value_or(FeedForward{});
  }
  return layer;
}

void add_layers(Model& model, const Pattern& pattern) {
  for (std::int64_t i = 0; i < pattern.layers; ++i) {
    const bool encoder = i < model.encoder_layers;
    Layer layer = make_layer(pattern, encoder ? i : i - model.encoder_layers);
    layer.causal = !encoder;
    layer.cross_attention = model.encoder_layers > 0 && !encoder;
    model.layers.push_back(std::move(layer));
  }
  for (std::int64_t i = 0; i < model.prediction_layers; ++i) {
    Layer layer = make_layer(pattern, pattern.layers - 1);
    layer.is_moe = pattern.experts.has_value();
    layer.feed_forward = layer.is_moe ? FeedForward{} : layer.feed_forward;
    if (layer.is_moe) layer.experts = *pattern.experts;
    model.layers.push_back(std::move(layer));
  }
}

/// What says something of layers that the model has none of. A model that says how many layers are dense may
/// say none, and keep what these were.
void check_pattern(const Reader& reader, const Model& model, const Pattern& pattern) {
  if (reader.is_describing()) return;
  const auto count = std::count_if(model.layers.begin(), model.layers.end(),
                                   [](const Layer& layer) { return layer.is_moe; });
  if (pattern.experts && count == 0) {
    reader.fail("moe",
                fmt::format("is given, but none of {} layers has experts (dense_layers {}, moe_every {})",
                            pattern.layers, pattern.dense_layers, pattern.moe_every));
  }
  const bool has_switch = reader.has("dense_layers") || reader.has("moe_every");
  if (pattern.feed_forward && count == std::ssize(model.layers) && !has_switch)
    reader.fail("feed_forward", "is given, but every layer has experts, whose width is that of moe");
  if (!pattern.experts && pattern.dense_layers > 0)
    reader.fail("dense_layers", fmt::format("is {}, but without moe every layer is", pattern.dense_layers));
  if (!pattern.experts && pattern.moe_every > 1)
    reader.fail("moe_every", fmt::format("is {}, but without moe no layer has experts", pattern.moe_every));
}

void check_model(const Reader& reader, const Model& model) {
  if (reader.is_describing()) return;
  double parameters = 0;
  for (const Layer& layer : model.layers) {
    if (!layer.is_moe && layer.feed_forward.width == 0) {
      reader.fail("feed_forward", "is missing, but the model has dense layers");
    }
    if (layer.cross_attention && layer.attention.is_latent()) {
      reader.fail("encoder_layers", "is given with latent attention, which has no cross attention");
    }
    const Attention& a = layer.attention;
    const double heads = static_cast<double>(a.heads) * static_cast<double>(a.head_dim + a.value_head_dim);
    const double experts = static_cast<double>(layer.is_moe ? layer.experts.count : 0);
    const double width = experts * static_cast<double>(layer.experts.width) +
                         static_cast<double>(layer.feed_forward.width + layer.experts.shared_width) +
                         8 * heads;
    parameters += 3 * width * static_cast<double>(model.hidden) +
                  2 * heads * static_cast<double>(a.q_lora_rank + a.kv_lora_rank);
  }
  // A hundredth of the range of 64 bits, so that bytes and states per parameter have room too.
  if (parameters > 9e16)
    reader.fail("layers", fmt::format("come to {:.1e} parameters, expected at most 9e16", parameters));
}

}  // namespace

Model read_model(Reader& reader) {
  Model model;
  Pattern pattern;
  model.name = reader.text({.name = "name", .help = "what reports call the model"});
  model.hidden = reader.integer(size_key("hidden", "size of a token's hidden state"));
  model.vocabulary = reader.integer({.name = "vocabulary",
                                     .help = "tokens of embedding and head",
                                     .at_least = 1,
                                     .at_most = largest_vocabulary});
  model.source_vocabulary = reader.integer({.name = "source_vocabulary",
                                            .help = "the encoder's own vocabulary; 0 shares the decoder's",
                                            .fallback = 0,
                                            .at_least = 0,
                                            .at_most = largest_vocabulary});
  pattern.layers = reader.integer({.name = "layers",
                                   .help = "all layers but those of multi-token prediction",
                                   .at_least = 1,
                                   .at_most = most_layers});
  model.encoder_layers =
      reader.integer({.name = "encoder_layers",
                      .help = "how many of them form the encoder",
                      .fallback = 0,
                      .at_least = 0,
                      .at_most = reader.is_describing() ? most_layers : pattern.layers - 1});
  pattern.dense_layers =
      reader.integer({.name = "dense_layers",
                      .help = "first layers of a stack that are dense although there are experts",
                      .fallback = 0,
                      .at_least = 0,
                      .at_most = most_layers});
  pattern.moe_every = reader.integer({.name = "moe_every",
                                      .help = "every n-th layer of a stack has experts",
                                      .fallback = 1,
                                      .at_least = 1,
                                      .at_most = most_layers});
  model.prediction_layers = reader.integer({.name = "prediction_layers",
                                            .help = "layers of multi-token prediction, after the others",
                                            .fallback = 0,
                                            .at_least = 0,
                                            .at_most = most_layers});
  model.positions = reader.integer({.name = "positions",
                                    .help = "learned position embeddings",
                                    .fallback = 0,
                                    .at_least = 0,
                                    .at_most = largest_vocabulary});
  model.tied_embedding = read_flag(reader, "tied_embedding", "head and embedding share one matrix");
  model.norm_bias =
      reader.choice(
          {.name = "norm", .help = "layer_norm has a bias, rms_norm has none", .fallback = "rms_norm"},
          norm_kinds) == layer_norm;
  Reader attention = reader.part("attention", "the attention of every layer");
  pattern.attention = read_attention(attention, model.hidden);
  if (auto part = reader.optional_part("feed_forward", "the feed-forward of dense layers"))
    pattern.feed_forward = read_feed_forward(*part);
  if (auto part = reader.optional_part("moe", "the experts of MoE layers; without it every layer is dense"))
    pattern.experts = read_experts(*part);
  add_layers(model, pattern);
  check_model(reader, model);
  reader.finish();
  check_pattern(reader, model, pattern);
  return model;
}

std::vector<ModelPart> describe_model() {
  std::vector<ModelPart> parts;
  const auto describe = [&parts](std::string name, auto read) {
    ModelPart part{std::move(name), {}};
    Reader reader = Reader::describing(part.keys);
    read(reader);
    parts.push_back(std::move(part));
  };
  describe("", [](Reader& reader) { read_model(reader); });
  for (std::size_t kind = 0; kind < attention_kinds.size(); ++kind) {
    describe(fmt::format("attention ({})", attention_kinds[kind]),
             [kind](Reader& reader) { read_attention(reader, 1, kind); });
  }
  describe("feed_forward", [](Reader& reader) { read_feed_forward(reader); });
  describe("moe", [](Reader& reader) { read_experts(reader); });
  return parts;
}

}  // namespace moesim
