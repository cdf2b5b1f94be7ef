// A table as programs read it: a header and rows.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "models/config/value.hpp"

namespace moesim {

/// What stands in a row under a column.
struct TableCell {
  std::string text{};
  bool is_quoted = false;  ///< in quotes, whether it needs them or not
};

/// Every row has a cell for each column.
struct Table {
  std::vector<std::string> columns;
  std::vector<std::vector<TableCell>> rows{};
};

/// A number, a flag or a text in a cell, the items of a list joined by +; an empty one for null.
TableCell cell_of(const Value& value);

/// The last columns are those of these groups, in their order: leaves out a group where no row has anything
/// in its columns.
void drop_empty_groups(Table& table, std::span<const std::span<const std::string_view>> groups);

}  // namespace moesim
