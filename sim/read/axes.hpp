// What a sweep varies: keys of a scenario with lists or ranges of values, zipped or multiplied.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "models/config/reader.hpp"

namespace moesim {

/// A key of a scenario, and the values that it takes in turn.
struct VariedKey {
  std::string key;
  std::vector<Value> values;
};

/// Keys whose values change together: the n-th value of each makes the n-th choice.
using ZippedKeys = std::vector<VariedKey>;

/// The values of "8..64 x2", "0.5..2 step 0.25" or "1..4", ends included; nothing for a text that is no
/// range. Throws InputError, naming `where`, for a range that has no end or over a million values.
std::optional<std::vector<Value>> parse_range(const std::string& text, const std::string& where);

/// The axes of a scenario's "sweep": an object multiplies its keys; a list holds objects whose keys are
/// zipped, and multiplies these. Nothing where there is no "sweep". Throws InputError.
std::vector<ZippedKeys> read_axes(const Value& document);

/// The keys of all axes, in order. Throws InputError where one is given twice.
std::vector<std::string> keys_of(const std::vector<ZippedKeys>& axes);

/// How many points the axes span. Throws InputError where zipped keys have unlike numbers of values, or where
/// there are over a million points.
std::size_t count_points(const std::vector<ZippedKeys>& axes);

/// One value for each key, for every point; the last axis changes fastest. Throws as count_points does.
std::vector<std::vector<Value>> points_of(const std::vector<ZippedKeys>& axes);

/// Reads the key "sweep", of which a single run needs nothing but that it is right. Throws InputError.
void check_sweep(Reader& reader);

}  // namespace moesim
