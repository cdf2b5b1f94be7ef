#include "sim/write/table.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>

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

void drop_empty_groups(Table& table, std::span<const std::span<const std::string_view>> groups) {
  std::ptrdiff_t end = std::ssize(table.columns);
  for (std::size_t group = groups.size(); group-- > 0;) {
    const std::ptrdiff_t begin = end - std::ssize(groups[group]);
    const bool is_empty = std::all_of(table.rows.begin(), table.rows.end(), [&](const auto& row) {
      return std::all_of(row.begin() + begin, row.begin() + end,
                         [](const TableCell& cell) { return cell.text.empty(); });
    });
    if (is_empty) {
      table.columns.erase(table.columns.begin() + begin, table.columns.begin() + end);
      for (std::vector<TableCell>& row : table.rows) row.erase(row.begin() + begin, row.begin() + end);
    }
    end = begin;
  }
}

}  // namespace moesim
