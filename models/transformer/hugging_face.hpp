// A Hugging Face config.json: its keys by any of their names, and what its architecture does without saying
// so.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "models/config/reader.hpp"

namespace moesim {

/// Where the biases of an attention come from.
enum class Bias : std::uint8_t { none, by_key, qkv_by_key, qkv_always };

/// What an architecture does without its config.json saying so (the code of Hugging Face transformers says
/// it).
struct Architecture {
  std::string_view type;
  Bias bias = Bias::none;
  bool qk_norm = false;                 ///< unless the key use_qk_norm says otherwise
  bool intermediate_is_expert = false;  ///< intermediate_size is the width of an expert
  bool score_correction = false;        ///< router has a number per expert, unless topk_method says otherwise
  bool is_gpt_oss = false;              ///< sinks, biases of experts and router, every other layer windowed
};
/// The configuration's keys, by any of their names; a null counts as not given.
class Config {
 public:
  explicit Config(Value value);
  const Value* find(std::string_view name) const { return value_.find(name); }
  Reader reader() const { return Reader(value_, ""); }

  /// The first of `names` that is given. Aliases that disagree are an error.
  std::optional<std::int64_t> integer(std::initializer_list<std::string_view> names,
                                      std::int64_t at_least = 1) const;
  /// The same, where one must be given.
  std::int64_t required(std::initializer_list<std::string_view> names, std::int64_t at_least = 1) const;
  bool flag(std::string_view name, bool fallback) const {
    return reader().flag({.name = name, .help = name, .fallback = fallback});
  }
  std::string text(std::string_view name) const {
    return reader().text({.name = name, .help = name, .fallback = std::string()});
  }
  std::vector<std::string> texts(std::string_view name) const {
    return reader().texts({.name = name, .help = name});
  }

 private:
  Value value_;
};

/// The architecture that "model_type" names. Throws InputError with the known ones for another.
const Architecture& find_architecture(const Config& config);

}  // namespace moesim
