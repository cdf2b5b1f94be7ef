#include "sim/run/axes.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <regex>

#include "models/base/error.hpp"

namespace moesim {
namespace {

constexpr std::size_t most_points = 10'000'000;

Value number(double value, bool is_whole) {
  Value result{.kind = is_whole ? Value::Kind::integer : Value::Kind::number};
  result.number = value;
  if (is_whole) result.integer = std::llround(value);
  result.origin = "--over";
  return result;
}

/// "FROM..TO xFACTOR", "FROM..TO step STEP" or "FROM..TO", whose step is 1; nothing for any other text.
std::optional<std::vector<Value>> read_range(const std::string& text, const std::string& where) {
  static const std::regex form(
      R"(\s*(-?[0-9.eE]+?)\.\.(-?[0-9.eE]+)(?:\s*(x|step )\s*([0-9.eE]+))?\s*)");
  std::smatch parts;
  if (!std::regex_match(text, parts, form)) return std::nullopt;
  try {
    const double first = std::stod(parts[1]), last = std::stod(parts[2]);
    const double by = parts[4].matched ? std::stod(parts[4]) : 1;
    const bool multiplies = parts[3] == "x";
    if (last < first || by <= (multiplies ? 1 : 0) || (multiplies && first <= 0))
      throw InputError(where, fmt::format("'{}' never comes to its end", text));
    const auto is_whole = [](const std::string& part) {
      return part.find_first_of(".eE") == std::string::npos;
    };
    const bool whole = is_whole(parts[1]) && (!parts[4].matched || is_whole(parts[4]));
    std::vector<Value> values;
    for (std::size_t i = 0; i <= most_points; ++i) {
      const double steps = static_cast<double>(i);
      const double value = multiplies ? first * std::pow(by, steps) : first + by * steps;
      if (value > last * (1 + 1e-12) + (multiplies ? 0 : 1e-9 * by)) break;
      values.push_back(number(value, whole));
    }
    if (values.size() > most_points) throw InputError(where, fmt::format("'{}' has too many values", text));
    return values;
  } catch (const std::logic_error&) {
    throw InputError(where, fmt::format("'{}' has a bound that is no number", text));
  }
}

/// Values as `"sweep"` gives them: a list, or the text of a range.
VariedKey read_key(const std::string& key, const Value& given) {
  const std::string where = fmt::format("{}: sweep.{}", given.origin, key);
  if (given.kind == Value::Kind::text) {
    if (auto range = read_range(given.text, where)) return {.key = key, .values = std::move(*range)};
  }
  if (given.kind != Value::Kind::list || given.items.empty()) {
    throw InputError(where, fmt::format("is {}, expected a list of values or a range, as \"8..64 x2\" or "
                                        "\"0.5..2 step 0.25\"",
                                        print(given)));
  }
  return {.key = key, .values = given.items};
}

}  // namespace

VariedKey parse_swept_key(std::string_view argument) {
  const std::size_t equals = argument.find('=');
  if (equals != std::string_view::npos && equals > 0) {
    const std::string where = fmt::format("--over {}", argument);
    if (auto range = read_range(std::string(argument.substr(equals + 1)), where))
      return {.key = std::string(argument.substr(0, equals)), .values = std::move(*range)};
  }
  return parse_varied_key(argument);
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

std::vector<std::vector<Value>> points_of(const std::vector<ZippedKeys>& axes) {
  std::vector<std::vector<Value>> points(1);
  for (const ZippedKeys& axis : axes) {
    const std::size_t choices = axis.front().values.size();
    for (const VariedKey& varied : axis) {
      if (varied.values.size() != choices)
        throw InputError("sweep", fmt::format("zips {} values of {} with {} of {}", choices, axis.front().key,
                                              varied.values.size(), varied.key));
    }
    if (points.size() > most_points / choices)
      throw InputError("sweep", fmt::format("has over {} points", most_points));
    std::vector<std::vector<Value>> longer;
    for (const std::vector<Value>& point : points) {
      for (std::size_t choice = 0; choice < choices; ++choice) {
        longer.push_back(point);
        for (const VariedKey& varied : axis) longer.back().push_back(varied.values[choice]);
      }
    }
    points = std::move(longer);
  }
  return points;
}

}  // namespace moesim
