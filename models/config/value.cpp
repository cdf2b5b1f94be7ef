#include "models/config/value.hpp"

#include <algorithm>

namespace moesim {

const Value* Value::find(std::string_view name) const {
  const auto found =
      std::find_if(members.begin(), members.end(), [&](const auto& m) { return m.first == name; });
  return found == members.end() ? nullptr : &found->second;
}

Value* Value::find(std::string_view name) {
  return const_cast<Value*>(static_cast<const Value*>(this)->find(name));
}

void Value::set(std::string_view name, Value value) {
  if (Value* known = find(name)) {
    *known = std::move(value);
  } else {
    members.emplace_back(name, std::move(value));
  }
}

std::string_view kind_name(Value::Kind kind) {
  switch (kind) {
    case Value::Kind::null:
      return "null";
    case Value::Kind::boolean:
      return "true or false";
    case Value::Kind::integer:
      return "a whole number";
    case Value::Kind::number:
      return "a number";
    case Value::Kind::text:
      return "a text";
    case Value::Kind::list:
      return "a list";
    case Value::Kind::object:
      return "an object";
  }
  return "a value";
}

bool same(const Value& a, const Value& b) {
  if (a.kind != b.kind || a.flag != b.flag || a.integer != b.integer || a.number != b.number ||
      a.text != b.text)
    return false;
  const auto same_member = [](const auto& x, const auto& y) {
    return x.first == y.first && same(x.second, y.second);
  };
  return std::equal(a.items.begin(), a.items.end(), b.items.begin(), b.items.end(), same) &&
         std::equal(a.members.begin(), a.members.end(), b.members.begin(), b.members.end(), same_member);
}

std::string dotted(const std::string& path, std::string_view step) {
  return path.empty() || step.empty() ? path + std::string(step) : path + "." + std::string(step);
}

}  // namespace moesim
