// Measured loads: tokens of each expert of each layer, or of each of its microbatches, from a CSV or JSON
// file.
#include <charconv>
#include <cmath>
#include <numeric>
#include <optional>

#include "models/base/error.hpp"
#include "models/base/file.hpp"
#include "models/config/document.hpp"
#include "models/routing/skew.hpp"

namespace moesim {
namespace {

constexpr std::int64_t most_experts = 1'000'000;

/// One layer of a file, or one of its microbatches.
struct LayerLoad {
  std::int64_t layer = 0;
  std::vector<double> tokens;  ///< of each expert; negative: not seen yet
  std::int64_t microbatch = 0;

  bool is_of(const LayerLoad& other) const { return layer == other.layer && microbatch == other.microbatch; }
};

class Replay final : public Skew {
 public:
  Replay(std::string file, std::vector<LayerLoad> layers)
      : file_(std::move(file)), layers_(std::move(layers)) {
    for (std::size_t i = 0; i < layers_.size(); ++i) {
      if (i == 0 || layers_[i].layer != layers_[i - 1].layer) layer_starts_.push_back(i);
    }
  }

  std::vector<double> popularity(std::int64_t experts, std::int64_t layer, std::int64_t microbatch,
                                 const Random&) const override {
    check(experts);
    std::vector<double> shares = of(layer, microbatch).tokens;
    const double sum = std::accumulate(shares.begin(), shares.end(), 0.0);
    for (double& share : shares) share /= sum;
    return shares;
  }
  bool varies() const override { return layers_.size() > layer_starts_.size(); }
  void check(std::int64_t experts) const override {
    const std::size_t has = layers_.front().tokens.size();
    if (static_cast<std::int64_t>(has) == experts) return;
    throw InputError(
        "", fmt::format("{} holds loads of {} experts, expected the model's {}", file_, has, experts));
  }

 private:
  /// The layer of that number; layers and microbatches that the file lacks take those that it has in turn.
  const LayerLoad& of(std::int64_t layer, std::int64_t microbatch) const {
    std::size_t place = static_cast<std::size_t>(layer) % layer_starts_.size();
    for (std::size_t i = 0; i < layer_starts_.size(); ++i) {
      if (layers_[layer_starts_[i]].layer == layer) place = i;
    }
    const std::size_t first = layer_starts_[place];
    const std::size_t end = place + 1 < layer_starts_.size() ? layer_starts_[place + 1] : layers_.size();
    return layers_[first + static_cast<std::size_t>(microbatch) % (end - first)];
  }

  std::string file_;
  std::vector<LayerLoad> layers_;          // microbatches of a layer one after the other
  std::vector<std::size_t> layer_starts_;  // the first of each layer
};

/// What is wrong with `fresh` behind those before: layers come one after the other, and in each its
/// microbatches from 0 on. Nothing where it is right.
std::string goes_back(const std::vector<LayerLoad>& layers, const LayerLoad& fresh) {
  if (!layers.empty() && layers.back().layer == fresh.layer) {
    const std::int64_t next = layers.back().microbatch + 1;
    if (fresh.microbatch == next) return {};
    return fmt::format("has microbatch {} of layer {}, expected {}", fresh.microbatch, fresh.layer, next);
  }
  for (const LayerLoad& known : layers) {
    if (known.layer == fresh.layer)
      return fmt::format("goes back to layer {}, expected layer by layer", fresh.layer);
  }
  if (fresh.microbatch == 0) return {};
  return fmt::format("begins layer {} with microbatch {}, expected 0", fresh.layer, fresh.microbatch);
}

/// Goes through a CSV file line by line.
class CsvReader {
 public:
  CsvReader(const std::string& text, std::string file) : rest_(text), file_(std::move(file)) {}

  std::vector<LayerLoad> read() {
    std::vector<LayerLoad> layers;
    const std::optional<std::string_view> header = next();
    has_microbatches_ = header && *header == "layer,microbatch,expert,tokens";
    if (!header || (!has_microbatches_ && *header != "layer,expert,tokens")) {
      fail(
          fmt::format("holds '{}', expected the header 'layer,expert,tokens' or "
                      "'layer,microbatch,expert,tokens'",
                      header.value_or("")));
    }
    while (const std::optional<std::string_view> line = next()) add(*line, layers);
    if (layers.empty()) fail(fmt::format("ends, expected a row '{}' for each expert of a layer", *header));
    return layers;
  }

 private:
  /// The next line that is neither empty nor a comment, without its end.
  std::optional<std::string_view> next() {
    while (!rest_.empty()) {
      const std::size_t end = rest_.find('\n');
      std::string_view line = rest_.substr(0, end);
      rest_.remove_prefix(end == std::string_view::npos ? rest_.size() : end + 1);
      ++line_;
      if (line.ends_with('\r')) line.remove_suffix(1);
      if (!line.empty() && !line.starts_with('#')) return line;
    }
    return std::nullopt;
  }

  void add(std::string_view line, std::vector<LayerLoad>& layers) {
    std::string_view rest = line;
    const auto layer = number<std::int64_t>(cell(rest, line), "a layer's number");
    const auto microbatch =
        has_microbatches_ ? number<std::int64_t>(cell(rest, line), "a microbatch's number") : 0;
    const auto expert = number<std::int64_t>(cell(rest, line), "an expert's number");
    const auto tokens = number<double>(rest, "a number of tokens");
    if (expert >= most_experts) {
      fail(fmt::format("names expert {}, expected less than {}", expert, most_experts));
    }
    const LayerLoad fresh{.layer = layer, .tokens = {}, .microbatch = microbatch};
    if (layers.empty() || !layers.back().is_of(fresh)) {
      if (const std::string back = goes_back(layers, fresh); !back.empty()) fail(back);
      layers.push_back(fresh);
    }
    std::vector<double>& all = layers.back().tokens;
    const auto at = static_cast<std::size_t>(expert);
    if (all.size() <= at) all.resize(at + 1, -1.0);
    if (all[at] >= 0) fail(fmt::format("names expert {} of layer {} twice", expert, layer));
    all[at] = tokens;
  }

  /// What is before the next comma, which is taken from `rest` of the line.
  std::string_view cell(std::string_view& rest, std::string_view line) const {
    const std::size_t comma = rest.find(',');
    if (comma == std::string_view::npos) {
      fail(fmt::format("holds '{}', expected 'layer,{}expert,tokens'", line,
                       has_microbatches_ ? "microbatch," : ""));
    }
    const std::string_view found = rest.substr(0, comma);
    rest.remove_prefix(comma + 1);
    return found;
  }

  template <class Number>
  Number number(std::string_view text, std::string_view what) const {
    Number value{};
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size() || !(value >= 0) ||
        !std::isfinite(static_cast<double>(value))) {
      fail(fmt::format("holds '{}', expected {}", text, what));
    }
    return value;
  }

  [[noreturn]] void fail(const std::string& what) const {
    throw InputError(fmt::format("{}: line {}", file_, line_), what);
  }

  std::string_view rest_;
  std::string file_;
  std::int64_t line_ = 0;
  bool has_microbatches_ = false;
};

/// {"layers": [{"layer": 3, "microbatch": 0, "tokens": [120, 80, ...]}, ...]}; microbatch may be left out
std::vector<LayerLoad> read_json(const std::string& text, const std::string& file) {
  const Value document = parse_json(text, file);
  Reader reader(document, "");
  static_cast<void>(reader.text({.name = "source", .help = "where the loads were measured", .fallback = ""}));
  std::vector<LayerLoad> layers;
  for (Reader& item : reader.items("layers", "loads of each layer")) {
    LayerLoad one;
    one.layer = item.integer({.name = "layer", .help = "number of the layer", .at_least = 0});
    one.microbatch =
        item.integer({.name = "microbatch", .help = "of the layer, from 0 on", .fallback = 0, .at_least = 0});
    one.tokens = item.numbers({.name = "tokens", .help = "of each expert", .at_least = 0.0});
    item.finish();
    if (const std::string back = goes_back(layers, one); !back.empty()) item.fail("layer", back);
    layers.push_back(std::move(one));
  }
  if (layers.empty()) reader.fail("layers", "is empty, expected at least one layer");
  reader.finish();
  return layers;
}

/// Every layer has as many experts, none left out, and some tokens.
void check(const std::vector<LayerLoad>& layers, const std::string& file) {
  const std::size_t experts = layers.front().tokens.size();
  for (const LayerLoad& one : layers) {
    if (one.tokens.size() != experts) {
      throw InputError(file, fmt::format("layer {} has {} experts, expected {} as in layer {}", one.layer,
                                         one.tokens.size(), experts, layers.front().layer));
    }
    double sum = 0;
    for (std::size_t e = 0; e < experts; ++e) {
      if (one.tokens[e] < 0) throw InputError(file, fmt::format("layer {} lacks expert {}", one.layer, e));
      sum += one.tokens[e];
    }
    if (!(sum > 0) || !std::isfinite(sum)) {
      throw InputError(file, fmt::format("layer {} has no tokens", one.layer));
    }
  }
}

std::unique_ptr<const Skew> make(Reader& reader) {
  const std::string name =
      reader.text({.name = "file",
                   .help = "CSV with the columns layer,expert,tokens (or "
                           "layer,microbatch,expert,tokens), or JSON; relative to this file"});
  if (reader.is_describing()) return std::make_unique<Replay>("", std::vector<LayerLoad>{{.tokens = {1.0}}});
  std::string file;
  try {
    file = find_beside(name, reader.value().find("file")->origin);
  } catch (const InputError&) {
    reader.fail("file", fmt::format("'{}' is no file here or in a folder above", name));
  }
  const std::string text = read_file(file);
  std::vector<LayerLoad> layers =
      file.ends_with(".json") ? read_json(text, file) : CsvReader(text, file).read();
  check(layers, file);
  return std::make_unique<Replay>(file, std::move(layers));
}

}  // namespace

extern constexpr Entry<Skew> replay_skew{"replay",
                                         "measured tokens of each expert of each layer, from a file", make};

}  // namespace moesim
