// The diagram as SVG.
#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "models/base/at.hpp"
#include "sim/picture/diagram.hpp"
#include "sim/picture/svg.hpp"

namespace moesim {
namespace {

/// How a kind of pass looks; odd chunks are lighter.
struct Look {
  std::string_view style;  ///< class
  std::string_view fill, light_fill, ink;
};
constexpr Look looks[] = {{"f", colour::blue, "#7fb8d8", "#fff"},
                          {"d", colour::orange, "#f5cf80", "#000"},
                          {"b", colour::yellow, "#f8f2a8", "#000"},
                          {"w", colour::green, "#7fceb9", "#fff"}};
const Look& look_of(Pass pass) { return at(looks, pass); }

// Pixels.
constexpr double left = 64, right = 62, row_height = 22, row_gap = 4, digit_width = 5.1, legend_line = 22,
                 header_line = 20;
constexpr double narrowest = 900, widest = 6000;

/// The microbatch fits a cell of that width.
bool has_room(double width, std::int64_t microbatch) {
  return width >= static_cast<double>(fmt::formatted_size("{}", microbatch)) * digit_width + .5;
}

class SvgDrawing {
 public:
  explicit SvgDrawing(const Diagram& diagram)
      : diagram_(diagram),
        plot_(plot_width(diagram)),
        legend_(legend_of(diagram, plot_ + right)),
        rows_top_(34 + header_line * static_cast<double>(!diagram.title.empty() + !diagram.plan.empty()) +
                  legend_line * static_cast<double>(legend_.size())),
        rows_bottom_(rows_top_ + static_cast<double>(diagram.rows.size()) * (row_height + row_gap)),
        svg_(left + plot_ + right, rows_bottom_ + 40, style()) {}

  std::string draw() && {
    header();
    legend();
    backgrounds();
    axis();
    for (std::size_t rank = 0; rank < diagram_.rows.size(); ++rank) row(rank);
    return std::move(svg_).finish();
  }

 private:
  /// Wide enough that nine of ten cells have room for any microbatch's number, within reason.
  static double plot_width(const Diagram& diagram) {
    std::vector<std::int64_t> durations;
    for (const DiagramRow& row : diagram.rows) {
      for (const Cell& cell : row.cells) durations.push_back((cell.end - cell.start).count);
    }
    if (durations.empty() || diagram.end.count == 0) return narrowest;
    const auto short_one = durations.begin() + static_cast<std::ptrdiff_t>(durations.size() / 10);
    std::nth_element(durations.begin(), short_one, durations.end());
    const auto room = static_cast<double>(fmt::formatted_size("{}", diagram.microbatches)) * digit_width + 1;
    const auto shortest = static_cast<double>(std::max<std::int64_t>(*short_one, 1));
    return std::clamp(room * static_cast<double>(diagram.end.count) / shortest, narrowest, widest);
  }

  double x_of(Time time) const { return left + (diagram_.end.count > 0 ? plot_ * (time / diagram_.end) : 0); }
  double y_of(std::size_t rank) const {
    return rows_top_ + static_cast<double>(rank) * (row_height + row_gap);
  }

  static std::string style() {
    std::string rules =
        ".cell text{font-size:9px;text-anchor:middle}\n"
        ".cell rect{stroke:#fff;stroke-width:.6}\n"
        ".idle{fill:#e8e8e8}\n";
    for (const Look& look : looks) {
      rules += fmt::format(
          ".{0}{{fill:{1}}} .{0}l{{fill:{2}}} .cell .{0}t{{fill:{3}}} .cell .{0}lt{{fill:#000}}\n",
          look.style, look.fill, look.light_fill, look.ink);
    }
    return rules;
  }

  void header() {
    double y = 22;
    if (!diagram_.title.empty()) {
      svg_.write(
          "<title>{0}</title>\n<text x=\"{1}\" y=\"{2}\" "
          "style=\"font-size:16px;font-weight:bold\">{0}</text>\n",
          escaped(diagram_.title), left, y);
      y += header_line;
    }
    for (const std::string& line : {diagram_.plan, subtitle(diagram_)}) {
      if (line.empty()) continue;
      svg_.write("<text x=\"{}\" y=\"{}\" style=\"fill:#555\">{}</text>\n", left, y, escaped(line));
      y += header_line;
    }
  }

  /// One entry of the legend: the classes of its upper and lower half.
  struct Key {
    std::string name;
    std::string_view above, below;
    double width() const { return 44 + 6.6 * static_cast<double>(name.size()); }
  };

  static std::vector<Key> keys_of(const Diagram& diagram) {
    std::set<Pass> passes;
    std::optional<Cell> pair;
    std::int64_t highest_chunk = 0;
    for (const DiagramRow& row : diagram.rows) {
      for (const Cell& cell : row.cells) {
        passes.insert(cell.slot.pass);
        if (cell.beneath) passes.insert(cell.beneath->pass);
        if (cell.beneath) pair = cell;
        highest_chunk = std::max<std::int64_t>(highest_chunk, cell.slot.chunk);
      }
    }
    std::vector<Key> keys;
    const auto add = [&](std::string_view name, std::string_view above, std::string_view below) {
      keys.push_back({std::string(name), above, below});
    };
    for (const Pass pass : passes) add(name_of(pass), look_of(pass).style, look_of(pass).style);
    if (pair) add(name_of({}, true), look_of(pair->slot.pass).style, look_of(pair->beneath->pass).style);
    if (highest_chunk > 0)
      add(highest_chunk > 1 ? "lighter: chunks 1, 3, ..." : "lighter: chunk 1", "fl", "fl");
    add("bubble", "idle", "idle");
    return keys;
  }

  /// The entries side by side, in as many lines as they need.
  static std::vector<std::vector<Key>> legend_of(const Diagram& diagram, double width) {
    std::vector<std::vector<Key>> lines(1);
    double used = 0;
    for (Key& key : keys_of(diagram)) {
      if (used > 0 && used + key.width() > width) {
        lines.emplace_back();
        used = 0;
      }
      used += key.width();
      lines.back().push_back(std::move(key));
    }
    return lines;
  }

  void legend() {
    double y = rows_top_ - 4 - legend_line * static_cast<double>(legend_.size());
    for (const std::vector<Key>& line : legend_) {
      double x = left;
      for (const Key& key : line) {
        const bool is_split = key.above != key.below;
        swatch(key.above, x, y, is_split ? 7 : 14);
        if (is_split) swatch(key.below, x, y + 7, 7);
        svg_.write("<text x=\"{:.1f}\" y=\"{}\">{}</text>\n", x + 27, y + 11, key.name);
        x += key.width();
      }
      y += legend_line;
    }
  }

  void swatch(std::string_view style, double x, double y, double height) {
    svg_.write("<rect class=\"{}\" x=\"{:.1f}\" y=\"{}\" width=\"22\" height=\"{}\"/>\n", style, x, y,
               height);
  }

  void backgrounds() {
    for (std::size_t rank = 0; rank < diagram_.rows.size(); ++rank) {
      svg_.write("<rect x=\"{}\" y=\"{}\" width=\"{:.2f}\" height=\"{}\" class=\"idle\"/>\n", left,
                 y_of(rank), plot_, row_height);
      svg_.write("<text x=\"{}\" y=\"{}\" text-anchor=\"end\">rank {}</text>\n", left - 8, y_of(rank) + 15,
                 rank);
      svg_.write("<text x=\"{:.2f}\" y=\"{}\">{:.1f} %</text>\n", left + plot_ + 8, y_of(rank) + 15,
                 100 * diagram_.rows[rank].bubble);
    }
    svg_.write("<text x=\"{:.2f}\" y=\"{}\" style=\"fill:#555\">bubble</text>\n", left + plot_ + 8,
               rows_bottom_ + 18);
  }

  void axis() {
    for (const Tick& tick : ticks(diagram_.end, static_cast<std::int64_t>(plot_ / 90))) {
      const double x = x_of(tick.at);
      svg_.write(
          "<path d=\"M{0:.2f} {1}V{2}\" stroke=\"#999\" stroke-width=\".6\"/>"
          "<text x=\"{0:.2f}\" y=\"{3}\" text-anchor=\"middle\">{4}</text>\n",
          x, rows_top_, rows_bottom_ + 4, rows_bottom_ + 18, tick.label);
    }
  }

  void row(std::size_t rank) {
    svg_.write("<g class=\"cell\">\n");
    for (const Cell& cell : diagram_.rows[rank].cells) {
      const double half = row_height / 2;
      if (cell.beneath) {
        pass(cell, cell.slot, y_of(rank), half);
        pass(cell, *cell.beneath, y_of(rank) + half, half);
      } else {
        pass(cell, cell.slot, y_of(rank), row_height);
      }
    }
    svg_.write("</g>\n");
  }

  void pass(const Cell& cell, const Slot& slot, double y, double height) {
    const Look& look = look_of(slot.pass);
    const std::string_view light = slot.chunk % 2 == 1 ? "l" : "";
    const double x = x_of(cell.start);
    const double width = x_of(cell.end) - x;
    svg_.write(
        "<rect class=\"{}{}\" x=\"{:.2f}\" y=\"{}\" width=\"{:.2f}\" height=\"{}\">"
        "<title>{}, microbatch {}, chunk {}: {} to {}</title></rect>\n",
        look.style, light, x, y, width, height, name_of(slot.pass), slot.microbatch, slot.chunk,
        print(cell.start), print(cell.end));
    if (!has_room(width, slot.microbatch)) return;
    svg_.write("<text class=\"{}{}t\" x=\"{:.2f}\" y=\"{}\">{}</text>\n", look.style, light, x + width / 2,
               y + height / 2 + 3.2, slot.microbatch);
  }

  const Diagram& diagram_;
  double plot_;
  std::vector<std::vector<Key>> legend_;
  double rows_top_, rows_bottom_;
  Svg svg_;
};

}  // namespace

std::string draw_svg(const Diagram& diagram) { return SvgDrawing(diagram).draw(); }

}  // namespace moesim
