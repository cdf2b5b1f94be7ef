// JSON as a tree of values that remember the file they came from.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace moesim {

/// One JSON value. Members of an object keep their order.
struct Value {
  enum class Kind : std::uint8_t { null, boolean, integer, number, text, list, object };

  Kind kind = Kind::null;
  bool flag = false;
  std::int64_t integer = 0;
  double number = 0;  ///< also set for integers
  std::string text{};
  std::vector<Value> items{};
  std::vector<std::pair<std::string, Value>> members{};
  std::string origin{};  ///< the file, or "--set" for an override
  /// Of a loaded document: all files that it was read from, also those of which nothing is left in it.
  std::vector<std::string> files{};

  /// The member of that name, or null.
  const Value* find(std::string_view name) const;
  Value* find(std::string_view name);
  /// Sets or adds a member.
  void set(std::string_view name, Value value);
};

/// What a person calls the kind: "a number", "a text", ...
std::string_view kind_name(Value::Kind kind);
/// The value in one line of JSON, cut to `longest` characters.
std::string print(const Value& value, std::size_t longest = 60);
/// The same, however long.
std::string one_line(const Value& value);
/// Equal in content; origins do not count.
bool same(const Value& a, const Value& b);

/// "a.b", one step down a dotted path; either may be empty.
std::string dotted(const std::string& path, std::string_view step);

/// Parses JSON. Throws InputError with `origin`, line and column; a key given twice is an error.
Value parse_json(const std::string& text, const std::string& origin);
/// The value as JSON text, indented; parse_json(write_json(x)) == x.
std::string write_json(const Value& value);

}  // namespace moesim
