#include "sim/picture/diagram.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "models/config/values.hpp"
#include "sim/report/fact.hpp"

namespace moesim {

Diagram make_diagram(const Order& order, const TaskGraph& graph, const Timeline& timeline,
                     const Report& report) {
  Diagram diagram{.title = report.title,
                  .plan = report.plan,
                  .end = {},
                  .microbatches = order.microbatches(),
                  .bubble_mean = report.bubble_mean,
                  .bubble_fraction = report.bubble_fraction,
                  .fits = report.memory.empty() || report.fits(),
                  .rows = {}};
  std::vector<std::vector<Cell>> all = cells_of(order, graph, timeline);
  diagram.slots = order_rows(order, all);
  for (std::vector<Cell>& cells : all) {
    if (!cells.empty()) diagram.end = std::max(diagram.end, cells.back().end);
    const PipelineRankReport& stage = report.pipeline_ranks[diagram.rows.size()];
    diagram.rows.push_back(
        {.cells = std::move(cells), .bubble = stage.span.count > 0 ? stage.bubble / stage.span : 0});
  }
  return diagram;
}

std::vector<Tick> ticks(Time end, std::int64_t at_most) {
  struct TickUnit {
    std::int64_t picoseconds;
    std::string_view name;
  };
  static constexpr std::array<TickUnit, 5> units{
      {{1'000'000'000'000, "s"}, {1'000'000'000, "ms"}, {1'000'000, "us"}, {1'000, "ns"}, {1, "ps"}}};
  std::int64_t step = 1;
  for (std::int64_t power = 1; end.count / step >= at_most; power *= 10) {
    for (const std::int64_t digit : {1, 2, 5, 10}) {
      step = digit * power;
      if (end.count / step < at_most) break;
    }
  }
  const TickUnit& unit = *std::find_if(units.begin(), units.end() - 1,
                                       [&](const TickUnit& u) { return end.count >= u.picoseconds; });
  std::vector<Tick> marks;
  for (std::int64_t mark = 0; mark <= end.count / step; ++mark) {
    const double amount = static_cast<double>(mark * step) / static_cast<double>(unit.picoseconds);
    marks.push_back({{mark * step}, fmt::format("{:.6g} {}", amount, unit.name)});
  }
  return marks;
}

std::string_view name_of(Pass pass, bool is_pair) {
  if (is_pair) return "forward and backward overlapped";
  switch (pass) {
    case Pass::forward:
      return "forward";
    case Pass::backward:
      return "backward";
    case Pass::backward_input:
      return "backward for inputs";
    case Pass::backward_weight:
      return "backward for weights";
  }
  return {};
}

std::string subtitle(const Diagram& diagram) {
  return fmt::format(
      "{} pipeline ranks, {} microbatches; passes end at {}; bubble {} of a rank's span in the mean, {} of "
      "the "
      "slowest's{}",
      diagram.rows.size(), diagram.microbatches, print(diagram.end),
      print(fact("bubble_mean"), value_of(diagram.bubble_mean)),
      print(fact("bubble_fraction"), value_of(diagram.bubble_fraction)),
      diagram.fits ? "" : "; DOES NOT FIT in memory");
}

}  // namespace moesim
