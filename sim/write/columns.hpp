// Rows that are listed as JSON and as a table: what stands in each column, told once for both.
#pragma once

#include <array>
#include <string_view>
#include <utility>
#include <vector>

#include "models/base/at.hpp"
#include "models/base/units.hpp"
#include "models/config/values.hpp"
#include "sim/graph/task_graph.hpp"
#include "sim/schedule/order.hpp"
#include "sim/write/table.hpp"

namespace moesim {

/// A key in JSON and a column in tables.
template <class Row>
struct Column {
  std::string_view name;
  Value (*read)(const Row&);  ///< null where a row has none
};

/// "backward_input": a pass as traces call it.
inline std::string_view key_of(Pass pass) {
  constexpr std::array kinds{PassKind::forward, PassKind::backward, PassKind::backward_input,
                             PassKind::backward_weight};
  return at(pass_names, at(kinds, pass));
}

/// Seconds, of which the shortest number that reads back the same is exact to the picosecond, as long as a
/// double holds all picoseconds (2.5 hours): the quotient is rounded once, where to_seconds() rounds a
/// constant and a product.
inline Value seconds_of(Time time) { return value_of(static_cast<double>(time.count) / 1e12); }

/// Sets what is not null.
inline void set_known(Value& object, std::string_view name, Value value) {
  if (value.kind != Value::Kind::null) object.set(name, std::move(value));
}

/// The columns of a row that has them, as an object.
template <class Row>
Value object_of(const Row& row, const auto& columns) {
  Value object = empty_object();
  for (const Column<Row>& column : columns) set_known(object, column.name, column.read(row));
  return object;
}

/// All rows under the names of the columns.
template <class Row>
Table table_of(const std::vector<Row>& rows, const auto& columns) {
  Table table;
  for (const Column<Row>& column : columns) table.columns.emplace_back(column.name);
  for (const Row& row : rows) {
    std::vector<TableCell>& cells = table.rows.emplace_back();
    for (const Column<Row>& column : columns) cells.push_back(cell_of(column.read(row)));
  }
  return table;
}

}  // namespace moesim
