#include "models/transformer/hugging_face.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

namespace moesim {
namespace {

constexpr std::array<Architecture, 9> architectures{{
    {.type = "deepseek_v2"},
    {.type = "deepseek_v3", .score_correction = true},
    {.type = "kimi_k2", .score_correction = true},
    {.type = "mixtral", .intermediate_is_expert = true},
    {.type = "qwen2_moe", .bias = Bias::qkv_always},
    {.type = "qwen3_moe", .bias = Bias::by_key, .qk_norm = true},
    {.type = "gpt_oss", .bias = Bias::by_key, .intermediate_is_expert = true, .is_gpt_oss = true},
    {.type = "glm4_moe", .bias = Bias::qkv_by_key, .score_correction = true},
    {.type = "llama", .bias = Bias::by_key},
}};

}  // namespace

Config::Config(Value value) : value_(std::move(value)) {
  std::erase_if(value_.members, [](const auto& member) { return member.second.kind == Value::Kind::null; });
}

std::optional<std::int64_t> Config::integer(std::initializer_list<std::string_view> names,
                                            std::int64_t at_least) const {
  std::optional<std::int64_t> found;
  std::string_view found_as;
  Reader from = reader();
  for (const std::string_view name : names) {
    if (find(name) == nullptr) continue;
    const std::int64_t given =
        from.integer({.name = name, .help = name, .at_least = at_least, .at_most = 100'000'000});
    if (found && *found != given) {
      from.fail(name, fmt::format("is {}, but {} is {}: expected the same", given, found_as, *found));
    }
    found = given;
    found_as = name;
  }
  return found;
}

std::int64_t Config::required(std::initializer_list<std::string_view> names, std::int64_t at_least) const {
  if (const auto found = integer(names, at_least)) return *found;
  reader().fail(*names.begin(), "is missing, expected a whole number");
}

const Architecture& find_architecture(const Config& config) {
  const std::string type = config.text("model_type");
  const auto found = std::find_if(architectures.begin(), architectures.end(),
                                  [&](const Architecture& each) { return each.type == type; });
  if (found != architectures.end()) return *found;
  std::vector<std::string_view> known;
  for (const Architecture& each : architectures) known.push_back(each.type);
  const std::string list = fmt::format("{}", fmt::join(known, ", "));
  config.reader().fail("model_type", type.empty() ? "is missing, expected one of " + list
                                                  : fmt::format("unknown '{}' (known: {})", type, list));
}

}  // namespace moesim
