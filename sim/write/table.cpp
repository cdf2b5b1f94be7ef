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

void drop_last_if_empty(Table& table, std::size_t columns) {
  const std::size_t left = table.columns.size() - columns;
  for (const std::vector<TableCell>& row : table.rows) {
    for (std::size_t i = left; i < row.size(); ++i) {
      if (!row[i].text.empty()) return;
    }
  }
  table.columns.resize(left);
  for (std::vector<TableCell>& row : table.rows) row.resize(left);
}

}  // namespace moesim
