// Values for JSON reports, one for each type of figure.
#pragma once

#include <cstdint>
#include <string>

#include "models/config/value.hpp"

namespace moesim {

/// A value of that kind, or of the kind of what it holds.
inline Value of(Value::Kind kind) { return Value{.kind = kind}; }

inline Value of(const std::string& text) {
  Value value = of(Value::Kind::text);
  value.text = text;
  return value;
}

inline Value of(double number) {
  Value value = of(Value::Kind::number);
  value.number = number;
  return value;
}

inline Value of(std::int64_t number) {
  Value value = of(Value::Kind::integer);
  value.integer = number;
  value.number = static_cast<double>(number);
  return value;
}

inline Value of(bool flag) {
  Value value = of(Value::Kind::boolean);
  value.flag = flag;
  return value;
}

}  // namespace moesim
