// Model files: the keys of each part, and what they must fulfil together.
#include "models/transformer/model.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "models/config/fields.hpp"
#include "models/config/misfit.hpp"

namespace moesim {
namespace {

// Far beyond any model, and small enough that no product of three sizes overflows.
constexpr std::int64_t largest_size = 1'000'000;
constexpr std::int64_t largest_vocabulary = 100'000'000;
constexpr std::int64_t most_layers = 10'000;

constexpr std::array<std::string_view, 3> attention_kinds{"multi_head", "grouped_query", "latent"};
constexpr std::array<std::string_view, 3> feed_forward_kinds{"swiglu", "geglu", "two_matrix"};
constexpr std::array<std::string_view, 2> norm_kinds{"rms_norm", "layer_norm"};  // of norm_bias
constexpr std::size_t grouped_query = 1, latent = 2, two_matrix = 2;

Key<std::int64_t> size_key(std::string_view name, std::string_view help) {
  return {.name = name, .help = help, .at_least = 1, .at_most = largest_size};
}

Key<std::int64_t> optional_size_key(std::string_view name, std::string_view help) {
  return {.name = name, .help = help, .fallback = 0, .at_least = 0, .at_most = largest_size};
}

/// A count that is none where it is not given.
Key<std::int64_t> count_key(std::string_view name, std::string_view help, std::int64_t most) {
  return {.name = name, .help = help, .fallback = 0, .at_least = 0, .at_most = most};
}

Key<bool> flag_key(std::string_view name, std::string_view help) {
  return {.name = name, .help = help, .fallback = false};
}

/// Attention as its file gives it: one shape, and how often a layer does without the window.
struct AttentionPart {
  Attention attention;
  std::int64_t full_attention_every = 0;
};

void read_latent(Reader& reader, Attention& a) {
  read_fields(
      reader, a,
      field(&Attention::q_lora_rank,
            optional_size_key("q_lora_rank", "size of the query latent; 0 is a plain projection")),
      field(&Attention::kv_lora_rank, size_key("kv_lora_rank", "size of the latent of keys and values")),
      field(&Attention::head_dim, size_key("nope_head_dim", "part of a query or key head without position")),
      field(&Attention::rope_head_dim,
            size_key("rope_head_dim", "part of a query or key head with position; one key for all heads")),
      field(&Attention::value_head_dim, size_key("value_head_dim", "size of a value head")));
  a.head_dim += a.rope_head_dim;
  a.kv_heads = a.heads;
}

Fit fits_heads(const Attention& a, std::int64_t hidden) {
  if (a.heads % a.kv_heads != 0)
    return Misfit("kv_heads", "{} heads do not divide into {} groups", a.heads, a.kv_heads);
  if (a.head_dim == 0 && hidden % a.heads != 0)
    return Misfit("head_dim", "is missing, and hidden {} does not divide into {} heads", hidden, a.heads);
  return {};
}

void read_heads(Reader& reader, Attention& a, std::int64_t hidden, bool grouped) {
  a.kv_heads = a.heads;
  if (grouped) {
    read_fields(
        reader, a,
        field(&Attention::kv_heads,
              size_key("kv_heads", "heads of keys and values, each shared by heads / kv_heads queries")));
  }
  read_fields(reader, a,
              field(&Attention::head_dim,
                    optional_size_key("head_dim", "size of a query or key head; 0 is hidden / heads")),
              field(&Attention::value_head_dim,
                    optional_size_key("value_head_dim", "size of a value head; 0 is head_dim")),
              field(&Attention::qkv_bias, flag_key("qkv_bias", "biases on queries, keys and values")),
              field(&Attention::output_bias, flag_key("output_bias", "a bias on the output projection")),
              field(&Attention::qk_norm, flag_key("qk_norm", "an RMSNorm of each query and key head")),
              field(&Attention::sinks, flag_key("sinks", "a learned score per head that no key answers to")));
  reader.expect(fits_heads, a, hidden);
  if (a.head_dim == 0) a.head_dim = std::max<std::int64_t>(1, hidden / a.heads);
  if (a.value_head_dim == 0) a.value_head_dim = a.head_dim;
}

Fit fits_window(const AttentionPart& part) {
  if (part.full_attention_every == 0 || part.attention.window > 0) return {};
  return Misfit("full_attention_every", "is given without a window, expected both or none");
}

/// `forced` reads the keys of one kind whatever the file says: for the reference.
AttentionPart read_attention(Reader& reader, std::int64_t hidden, std::optional<std::size_t> forced = {}) {
  const std::size_t given =
      reader.choice({.name = "kind", .help = "how queries, keys and values are made"}, attention_kinds);
  const std::size_t kind = forced.value_or(given);
  AttentionPart part;
  Attention& a = part.attention;
  read_fields(reader, a, field(&Attention::heads, size_key("heads", "query heads")));
  if (kind == latent) {
    read_latent(reader, a);
  } else {
    read_heads(reader, a, hidden, kind == grouped_query);
  }
  read_fields(
      reader, part,
      field(&AttentionPart::attention, &Attention::window,
            {.name = "window", .help = "keys that a query sees; 0 is all", .fallback = 0, .at_least = 0}),
      field(&AttentionPart::full_attention_every,
            {.name = "full_attention_every",
             .help = "every n-th layer does without the window; 0 is none",
             .fallback = 0,
             .at_least = 0}));
  reader.expect(fits_window, part);
  reader.finish();
  return part;
}

bool read_gated(Reader& reader) {
  return reader.choice(
             {.name = "kind", .help = "gated (three matrices) or two matrices", .fallback = "swiglu"},
             feed_forward_kinds) != two_matrix;
}

FeedForward read_feed_forward(Reader& reader) {
  FeedForward f{.gated = read_gated(reader)};
  read_fields(reader, f,
              field(&FeedForward::width,
                    size_key("width", "hidden size of the feed-forward (of one half where it is gated)")),
              field(&FeedForward::bias, flag_key("bias", "biases on every matrix")));
  reader.finish();
  return f;
}

Fit fits_experts(const Experts& e) {
  if (e.shared == 0 && e.shared_width > 0) return Misfit("shared_width", "is given without shared_experts");
  if (e.top_k > e.count) return Misfit("top_k", "is {}, expected at most the {} experts", e.top_k, e.count);
  if (e.count % e.groups != 0)
    return Misfit("groups", "{} experts do not divide into {} groups", e.count, e.groups);
  if (e.chosen_groups > e.groups)
    return Misfit("chosen_groups", "is {}, expected at most the {} groups", e.chosen_groups, e.groups);
  const std::int64_t within_reach = e.chosen_groups * (e.count / e.groups);
  if (e.top_k > within_reach) {
    return Misfit("top_k", "is {}, but {} chosen groups hold {} experts", e.top_k, e.chosen_groups,
                  within_reach);
  }
  if (e.shared_gate && e.shared_width == 0) return Misfit("shared_gate", "is given without shared experts");
  return {};
}

Experts read_experts(Reader& reader) {
  Experts e{.gated = read_gated(reader)};
  read_fields(
      reader, e, field(&Experts::count, size_key("experts", "routed experts of a layer")),
      field(&Experts::top_k, size_key("top_k", "experts that a token is sent to")),
      field(&Experts::width, size_key("width", "hidden size of one routed expert")),
      field(&Experts::shared, optional_size_key("shared_experts", "experts that every token meets")),
      field(&Experts::shared_width,
            optional_size_key("shared_width",
                              "hidden size of all shared experts together; 0 is shared_experts x width")),
      field(&Experts::groups, {.name = "groups",
                               .help = "groups of experts (nodes) for group-limited routing",
                               .fallback = 1,
                               .at_least = 1,
                               .at_most = largest_size}),
      field(&Experts::chosen_groups,
            optional_size_key("chosen_groups", "groups that a token may reach; 0 is all")),
      field(&Experts::bias, flag_key("bias", "biases on every expert matrix")),
      field(&Experts::router_bias, flag_key("router_bias", "a bias or score correction per expert")),
      field(&Experts::shared_gate, flag_key("shared_gate", "a sigmoid gate on the shared experts")));
  if (e.shared_width == 0) e.shared_width = e.shared * e.width;
  if (e.chosen_groups == 0) e.chosen_groups = e.groups;
  reader.expect(fits_experts, e);
  reader.finish();
  return e;
}

/// What the file says: the model without its layers, and the pattern of these.
struct Pattern {
  Model model;
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

void add_layers(Pattern& pattern) {
  Model& model = pattern.model;
  for (std::int64_t i = 0; i < pattern.layers; ++i) {
    const bool encoder = i < model.encoder_layers;
    Layer layer = make_layer(pattern, encoder ? i : i - model.encoder_layers);
    layer.causal = !encoder;
    layer.cross_attention = model.encoder_layers > 0 && !encoder;
    model.layers.push_back(layer);
  }
  for (std::int64_t i = 0; i < model.prediction_layers; ++i) {
    Layer layer = make_layer(pattern, pattern.layers - 1);
    layer.is_moe = pattern.experts.has_value();
    layer.feed_forward = layer.is_moe ? FeedForward{} : layer.feed_forward;
    if (layer.is_moe) layer.experts = *pattern.experts;
    model.layers.push_back(layer);
  }
}

/// What says something of layers that the model has none of. A model that says how many layers are dense may
/// say none, and keep what these were.
Fit fits_pattern(const Pattern& pattern, bool has_switch) {
  const std::vector<Layer>& layers = pattern.model.layers;
  const auto count =
      std::count_if(layers.begin(), layers.end(), [](const Layer& layer) { return layer.is_moe; });
  if (pattern.experts && count == 0) {
    return Misfit("moe", "is given, but none of {} layers has experts (dense_layers {}, moe_every {})",
                  pattern.layers, pattern.dense_layers, pattern.moe_every);
  }
  if (pattern.feed_forward && count == std::ssize(layers) && !has_switch)
    return Misfit("feed_forward", "is given, but every layer has experts, whose width is that of moe");
  if (!pattern.experts && pattern.dense_layers > 0)
    return Misfit("dense_layers", "is {}, but without moe every layer is", pattern.dense_layers);
  if (!pattern.experts && pattern.moe_every > 1)
    return Misfit("moe_every", "is {}, but without moe no layer has experts", pattern.moe_every);
  return {};
}

Fit fits_encoder(const Pattern& pattern) {
  if (pattern.model.encoder_layers < pattern.layers) return {};
  return Misfit("encoder_layers", "is {}, expected 0 to {}", pattern.model.encoder_layers,
                pattern.layers - 1);
}

/// Parameters of a layer, roughly and from above.
double most_parameters(const Layer& layer, std::int64_t hidden) {
  const Attention& a = layer.attention;
  const double heads = static_cast<double>(a.heads) * static_cast<double>(a.head_dim + a.value_head_dim);
  const double experts = static_cast<double>(layer.is_moe ? layer.experts.count : 0);
  const double width = experts * static_cast<double>(layer.experts.width) +
                       static_cast<double>(layer.feed_forward.width + layer.experts.shared_width) + 8 * heads;
  return 3 * width * static_cast<double>(hidden) +
         2 * heads * static_cast<double>(a.q_lora_rank + a.kv_lora_rank);
}

Fit fits_model(const Model& model) {
  double parameters = 0;
  for (const Layer& layer : model.layers) {
    if (!layer.is_moe && layer.feed_forward.width == 0)
      return Misfit("feed_forward", "is missing, but the model has dense layers");
    if (layer.cross_attention && layer.attention.is_latent())
      return Misfit("encoder_layers", "is given with latent attention, which has no cross attention");
    parameters += most_parameters(layer, model.hidden);
  }
  // A hundredth of the range of 64 bits, so that bytes and states per parameter have room too.
  if (parameters <= 9e16) return {};
  return Misfit("layers", "come to {:.1e} parameters, expected at most 9e16", parameters);
}

/// All keys but the parts.
void read_sizes(Reader& reader, Pattern& pattern) {
  constexpr auto model = &Pattern::model;
  read_fields(
      reader, pattern, field(model, &Model::name, {.name = "name", .help = "what reports call the model"}),
      field(model, &Model::hidden, size_key("hidden", "size of a token's hidden state")),
      field(model, &Model::vocabulary,
            {.name = "vocabulary",
             .help = "tokens of embedding and head",
             .at_least = 1,
             .at_most = largest_vocabulary}),
      field(model, &Model::source_vocabulary,
            count_key("source_vocabulary", "the encoder's own vocabulary; 0 shares the decoder's",
                      largest_vocabulary)),
      field(&Pattern::layers, {.name = "layers",
                               .help = "all layers but those of multi-token prediction",
                               .at_least = 1,
                               .at_most = most_layers}),
      field(model, &Model::encoder_layers,
            count_key("encoder_layers", "how many of them form the encoder", most_layers)),
      field(&Pattern::dense_layers,
            count_key("dense_layers", "first layers of a stack that are dense although there are experts",
                      most_layers)),
      field(&Pattern::moe_every, {.name = "moe_every",
                                  .help = "every n-th layer of a stack has experts",
                                  .fallback = 1,
                                  .at_least = 1,
                                  .at_most = most_layers}),
      field(
          model, &Model::prediction_layers,
          count_key("prediction_layers", "layers of multi-token prediction, after the others", most_layers)),
      field(model, &Model::positions,
            count_key("positions", "learned position embeddings", largest_vocabulary)),
      field(model, &Model::tied_embedding, flag_key("tied_embedding", "head and embedding share one matrix")),
      choice(model, &Model::norm_bias, norm_kinds,
             {.name = "norm", .help = "layer_norm has a bias, rms_norm has none", .fallback = "rms_norm"}));
  reader.expect(fits_encoder, pattern);
}

}  // namespace

Model read_model(Reader& reader) {
  Pattern pattern;
  read_sizes(reader, pattern);
  Reader attention = reader.part("attention", "the attention of every layer");
  pattern.attention = read_attention(attention, pattern.model.hidden);
  if (auto part = reader.optional_part("feed_forward", "the feed-forward of dense layers"))
    pattern.feed_forward = read_feed_forward(*part);
  if (auto part = reader.optional_part("moe", "the experts of MoE layers; without it every layer is dense"))
    pattern.experts = read_experts(*part);
  add_layers(pattern);
  reader.expect(fits_model, pattern.model);
  reader.finish();
  reader.expect(fits_pattern, pattern, reader.has("dense_layers") || reader.has("moe_every"));
  return std::move(pattern.model);
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
