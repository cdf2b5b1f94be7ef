#include "sim/write/table.hpp"

#include <fmt/format.h>

namespace moesim {

TableCell cell_of(const Value& value) {
  switch (value.kind) {
    case Value::Kind::null:
      return {};
    case Value::Kind::text:
      return {value.text};
    case Value::Kind::number:
      return {fmt::format("{}", value.number)};
    case Value::Kind::list: {
      std::string text;
      for (const Value& item : value.items) text += (text.empty() ? "" : "+") + cell_of(item).text;
      return {text};
    }
    default:
      return {one_line(value)};
  }
}

}  // namespace moesim
