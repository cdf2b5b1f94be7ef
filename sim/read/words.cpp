#include "sim/read/words.hpp"

#include <fmt/format.h>

#include "sim/read/recompute.hpp"

namespace moesim {

std::string words_of(const Reader& part, std::string_view usual) {
  if (part.is_describing()) return {};
  std::string kind(usual);
  std::string keys;
  for (const auto& [name, value] : part.value().members) {
    const std::string word = value.kind == Value::Kind::text ? value.text : print(value, 40);
    if (name == "kind") {
      kind = word;
    } else if (name != "about" && name != "source" && name != "sources") {
      keys += fmt::format("{}{}={}", keys.empty() ? "" : " ", name, word);
    }
  }
  return keys.empty() ? kind : fmt::format("{} ({})", kind, keys);
}

std::string recompute_words(const Reader& reader, const Recompute& recompute) {
  const Value* given = reader.is_describing() ? nullptr : reader.value().find("recompute");
  if (given == nullptr) return {};
  if (given->kind == Value::Kind::object) return fmt::format("{}", fmt::join(names_of(recompute), "+"));
  std::string words;
  for (const Value& item : given->kind == Value::Kind::list ? given->items : std::vector<Value>{*given}) {
    if (item.text != "none") words += (words.empty() ? "" : "+") + item.text;
  }
  return words;
}

}  // namespace moesim
