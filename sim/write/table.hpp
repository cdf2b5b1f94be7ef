// A table as programs read it: a header and rows.
#pragma once

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

/// Leaves out the last so many columns where no row has anything in them.
void drop_last_if_empty(Table& table, std::size_t columns);

}  // namespace moesim
