// Makes values: for JSON that is written, and for keys that a command sets.
#pragma once

#include <concepts>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "models/config/value.hpp"

namespace moesim {

/// A value of what it is given; `origin` names where it comes from, for errors.
template <std::same_as<bool> Flag>
Value value_of(Flag flag, std::string_view origin = {}) {
  Value value{.kind = Value::Kind::boolean, .origin = std::string(origin)};
  value.flag = flag;
  return value;
}

/// A whole number, `number` set as well.
template <std::integral Whole>
requires(!std::same_as<Whole, bool>) Value value_of(Whole whole, std::string_view origin = {}) {
  Value value{.kind = Value::Kind::integer, .origin = std::string(origin)};
  value.integer = static_cast<std::int64_t>(whole);
  value.number = static_cast<double>(whole);
  return value;
}

inline Value value_of(double number, std::string_view origin = {}) {
  Value value{.kind = Value::Kind::number, .origin = std::string(origin)};
  value.number = number;
  return value;
}

inline Value value_of(std::string_view text, std::string_view origin = {}) {
  Value value{.kind = Value::Kind::text, .origin = std::string(origin)};
  value.text = text;
  return value;
}
inline Value value_of(const std::string& text, std::string_view origin = {}) {
  return value_of(std::string_view(text), origin);
}
inline Value value_of(const char* text, std::string_view origin = {}) {
  return value_of(std::string_view(text), origin);
}

/// An object without members, to which they are added.
inline Value empty_object(std::string_view origin = {}) {
  return Value{.kind = Value::Kind::object, .origin = std::string(origin)};
}

/// A list without items, to which they are added.
inline Value empty_list(std::string_view origin = {}) {
  return Value{.kind = Value::Kind::list, .origin = std::string(origin)};
}

/// A list of values of the items.
template <class Item>
Value list_of(const std::vector<Item>& items, std::string_view origin = {}) {
  Value list = empty_list(origin);
  for (const Item& item : items) list.items.push_back(value_of(item, origin));
  return list;
}

}  // namespace moesim
