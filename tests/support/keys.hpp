// What the keys of a scenario do: which of them are read, values far from what they are, and what a run or a
// search then says.
#pragma once

#include <string>
#include <vector>

#include "models/config/document.hpp"
#include "models/config/reader.hpp"

namespace moesim::testing {

/// A scenario, and every key that is read of it, whether it is given or not. A key's name is its whole path.
struct ReadScenario {
  Value document;
  std::vector<Declaration> keys;
};
ReadScenario read_keys(const std::string& path, const std::vector<Override>& overrides = {});

/// The value at a dotted path; null where there is none.
const Value* value_at(const Value& document, std::string_view path);
/// What a key's value is: the given one, else its default; null where there is neither.
Value current_value(const ReadScenario& scenario, const Declaration& key);
/// The kind of the part at `path` ("" is the scenario); empty where it has none.
std::string kind_at(const ReadScenario& scenario, const std::string& path);

/// Values far from the current one, by the key's type: some may be out of bounds. Empty for lists, texts that
/// are no names, and parts: what these mean is not told by their type.
std::vector<Value> far_off(const ReadScenario& scenario, const Declaration& key);

/// What a scenario comes to with `overrides`: the facts of its report, or of its search where it has a part
/// "search", without what only says again what was given; or why it is refused.
struct Verdict {
  bool is_refused = false;
  std::string text;
  friend bool operator==(const Verdict&, const Verdict&) = default;
};
Verdict verdict_of(const std::string& path, const std::vector<Override>& overrides = {});

/// The part or family member that `moesim describe` lists the keys at `path` under, as "batch" or
/// "schedule.1f1b"; empty where it has none.
std::string described_name(const ReadScenario& scenario, const std::string& path);

/// All that `moesim describe` lists, by the same names.
struct DescribedKeys {
  std::string name;
  std::vector<Declaration> keys;
};
std::vector<DescribedKeys> described_keys();

}  // namespace moesim::testing
