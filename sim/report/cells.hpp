// When the passes of each pipeline rank ran: what `moesim schedule` draws and lists.
#pragma once

#include <cstddef>
#include <optional>
#include <vector>

#include "models/base/units.hpp"
#include "sim/graph/task_graph.hpp"
#include "sim/graph/timeline.hpp"
#include "sim/schedule/order.hpp"

namespace moesim {

/// A pass, or a forward and a backward that share the device, from its first task to its last.
struct Cell {
  Time start, end;
  std::size_t position = 0;     ///< in the rank's order; of a pair: of the first, the second is next
  Slot slot;                    ///< of a pair: the forward
  std::optional<Slot> beneath;  ///< of a pair: the backward
};

/// The cells of each rank; where every device is an actor, those of the rank's first device. A pass lasts
/// from its first computation or exchange to its last; while another pass computes, that one has the device.
/// A pass without any work has no cell.
std::vector<std::vector<Cell>> cells_of(const Order& order, const TaskGraph& graph, const Timeline& timeline);

/// One entry of a rank's order.
struct OrderRow {
  std::size_t rank = 0, position = 0;  ///< position: in the rank's order
  Slot slot;
  std::size_t stage = 0;                ///< of the model
  std::optional<std::size_t> beside{};  ///< of a pair: the position of the other
  std::optional<Cell> cell{};           ///< when it ran, a pair as one; nothing: it had no work
};

/// Every slot of every rank, in order.
std::vector<OrderRow> order_rows(const Order& order, const std::vector<std::vector<Cell>>& cells);

}  // namespace moesim
