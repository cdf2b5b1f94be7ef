#include "sim/read/axes.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <regex>

#include "models/base/error.hpp"

namespace moesim {
namespace {

constexpr std::size_t most_points = 1'000'000;
constexpr double largest_whole = 9e15;  // doubles hold every whole number below 2^53

/// FROM, TO, and how to get from one value to the next.
struct Range {
  double first = 0, last = 0, by = 1;
  bool multiplies = false, is_whole = false;
};

bool is_whole(const std::string& number) { return number.find_first_of(".eE") == std::string::npos; }

std::vector<Value> values_of(const Range& range, const std::string& text, const std::string& where) {
  if (range.last < range.first || range.by <= (range.multiplies ? 1 : 0) ||
      (range.multiplies && range.first <= 0))
    throw InputError(where, fmt::format("'{}' never comes to its end", text));
  if (range.is_whole && std::max(std::abs(range.first), std::abs(range.last)) > largest_whole)
    throw InputError(where, fmt::format("'{}' has values that are too large", text));
  const double steps = range.multiplies ? std::log(range.last / range.first) / std::log(range.by)
                                        : (range.last - range.first) / range.by;
  if (!(steps < static_cast<double>(most_points)))
    throw InputError(where, fmt::format("'{}' has over {} values", text, most_points));
  std::vector<Value> values;
  const int last = static_cast<int>(steps + 1e-9);
  for (int i = 0; i <= last; ++i) {
    const double exact = range.multiplies ? range.first * std::pow(range.by, i) : range.first + range.by * i;
    Value value{.kind = range.is_whole ? Value::Kind::integer : Value::Kind::number, .origin = where};
    value.number = range.is_whole ? std::round(exact) : std::stod(fmt::format("{:.12g}", exact));
    if (range.is_whole) value.integer = std::llround(exact);
    values.push_back(std::move(value));
  }
  return values;
}

/// Values as `"sweep"` gives them: a list, or the text of a range.
VariedKey read_key(const std::string& key, const Value& given) {
  const std::string where = fmt::format("{}: sweep.{}", given.origin, key);
  if (given.kind == Value::Kind::text) {
    if (auto range = parse_range(given.text, where)) {
      for (Value& value : *range) value.origin = given.origin;
      return {.key = key, .values = std::move(*range)};
    }
  }
  if (given.kind != Value::Kind::list || given.items.empty()) {
    throw InputError(where, fmt::format("is {}, expected a list of values or a range, as \"8..64 x2\" or "
                                        "\"0.5..2 step 0.25\"",
                                        print(given)));
  }
  return {.key = key, .values = given.items};
}

}  // namespace

std::optional<std::vector<Value>> parse_range(const std::string& text, const std::string& where) {
  static const std::regex likeness(R"(\s*-?[0-9][0-9.eE]*?\.\..*)");
  static const std::regex form(R"(\s*(-?[0-9.eE]+?)\.\.(-?[0-9.eE]+)(?:\s*(x|\sstep )\s*([0-9.eE]+))?\s*)");
  if (!std::regex_match(text, likeness)) return std::nullopt;
  const auto reject = [&] {
    throw InputError(where,
                     fmt::format("'{}' is no range, expected as 1..4, 8..64 x2 or 0.5..2 step 0.25", text));
  };
  std::smatch parts;
  if (!std::regex_match(text, parts, form)) reject();
  const auto number = [&](const std::string& part) {
    std::size_t end = 0;
    double value = 0;
    try {
      value = std::stod(part, &end);
    } catch (const std::logic_error&) {
      reject();
    }
    if (end != part.size()) reject();
    return value;
  };
  const bool has_step = parts[4].matched;
  return values_of({.first = number(parts[1]),
                    .last = number(parts[2]),
                    .by = has_step ? number(parts[4]) : 1,
                    .multiplies = parts[3] == "x",
                    .is_whole = is_whole(parts[1]) && (!has_step || is_whole(parts[4]))},
                   text, where);
}

std::vector<ZippedKeys> read_axes(const Value& document) {
  const Value* sweep = document.find("sweep");
  std::vector<ZippedKeys> axes;
  if (sweep == nullptr) return axes;
  const auto reject = [](const Value& wrong) {
    throw InputError(wrong.origin + ": sweep", fmt::format("is {}, expected an object of keys with their "
                                                           "values, or a list of such objects",
                                                           print(wrong)));
  };
  if (sweep->kind == Value::Kind::object) {
    for (const auto& [key, given] : sweep->members) axes.push_back({read_key(key, given)});
  } else if (sweep->kind == Value::Kind::list) {
    for (const Value& group : sweep->items) {
      if (group.kind != Value::Kind::object || group.members.empty()) reject(group);
      ZippedKeys& zipped = axes.emplace_back();
      for (const auto& [key, given] : group.members) zipped.push_back(read_key(key, given));
    }
  } else {
    reject(*sweep);
  }
  return axes;
}

std::vector<std::string> keys_of(const std::vector<ZippedKeys>& axes) {
  std::vector<std::string> keys;
  for (const ZippedKeys& axis : axes) {
    for (const VariedKey& varied : axis) {
      if (std::find(keys.begin(), keys.end(), varied.key) != keys.end())
        throw InputError("sweep." + varied.key, "is given twice");
      keys.push_back(varied.key);
    }
  }
  return keys;
}

std::size_t count_points(const std::vector<ZippedKeys>& axes) {
  std::size_t points = 1;
  for (const ZippedKeys& axis : axes) {
    const std::size_t choices = axis.front().values.size();
    for (const VariedKey& varied : axis) {
      if (varied.values.size() != choices)
        throw InputError("sweep", fmt::format("zips {} values of {} with {} of {}", choices, axis.front().key,
                                              varied.values.size(), varied.key));
    }
    if (points > most_points / choices)
      throw InputError("sweep", fmt::format("has over {} points", most_points));
    points *= choices;
  }
  return points;
}

std::vector<std::vector<Value>> points_of(const std::vector<ZippedKeys>& axes) {
  count_points(axes);
  std::vector<std::vector<Value>> points(1);
  for (const ZippedKeys& axis : axes) {
    std::vector<std::vector<Value>> longer;
    for (const std::vector<Value>& point : points) {
      for (std::size_t choice = 0; choice < axis.front().values.size(); ++choice) {
        longer.push_back(point);
        for (const VariedKey& varied : axis) longer.back().push_back(varied.values[choice]);
      }
    }
    points = std::move(longer);
  }
  return points;
}

void check_sweep(Reader& reader) {
  if (reader.raw("sweep", "what `moesim sweep` varies: keys with lists or ranges of values") == nullptr)
    return;
  const std::vector<ZippedKeys> axes = read_axes(reader.value());
  keys_of(axes);
  count_points(axes);
}

}  // namespace moesim
