// The passes of each pipeline rank in time: what `moesim schedule` draws.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "models/base/units.hpp"
#include "sim/report/cells.hpp"
#include "sim/report/report.hpp"
#include "sim/schedule/order.hpp"

namespace moesim {

/// One pipeline rank.
struct DiagramRow {
  std::vector<Cell> cells;  ///< in time; none overlap
  double bubble = 0;        ///< share of the rank's span
};

/// All ranks from the step's start to the end of the last pass.
struct Diagram {
  std::string title;
  std::string plan{};  ///< what was run, in one line
  Time end;
  std::int64_t microbatches = 0;
  double bubble_mean = 0;      ///< over ranks
  double bubble_fraction = 0;  ///< of the slowest rank
  bool fits = true;            ///< in memory
  std::vector<DiagramRow> rows;
  std::vector<OrderRow> slots{};  ///< of all ranks, for lists: when the cells have them
};

/// The diagram of a run. Pure.
Diagram make_diagram(const Order& order, const TaskGraph& graph, const Timeline& timeline,
                     const Report& report);

/// How to draw as text.
struct TextStyle {
  std::int64_t width = 100;  ///< columns that no line exceeds; at least 40
  bool colour = false;       ///< ANSI colours and block characters; otherwise ASCII
};
inline constexpr std::int64_t narrowest_text = 40;

/// One line a rank, a legend and a time axis. A cell carries its microbatch where there is room.
std::string draw_text(const Diagram& diagram, const TextStyle& style);

/// One self-contained SVG: a row a rank, a time axis, a legend; each pass is a rectangle with its own
/// tooltip.
std::string draw_svg(const Diagram& diagram);

/// A mark on the time axis.
struct Tick {
  Time at;
  std::string label;  ///< with unit, as "2.5 ms"
};
/// Marks at round times from zero to `end`, at most that many.
std::vector<Tick> ticks(Time end, std::int64_t at_most);

/// What a pass is called in a legend; `beneath` is set for a pair.
std::string_view name_of(Pass pass, bool is_pair = false);
/// "16 pipeline ranks, 120 microbatches; ..." under the title.
std::string subtitle(const Diagram& diagram);

}  // namespace moesim
