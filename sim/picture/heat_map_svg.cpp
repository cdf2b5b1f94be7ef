// Heat maps as SVG. Colours are ColorBrewer's YlGnBu (Harrower and Brewer, The Cartographic Journal 40(1),
// 2003): from light to dark, for colour-blind readers and print without colours as well.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <string>

#include "sim/picture/plot.hpp"
#include "sim/picture/svg.hpp"

namespace moesim {
namespace {

// Pixels.
constexpr double widest = 560, widest_cell = 66, cell_height = 34, margin = 16, panel_gap = 66, bar = 14;

struct Shade {
  double red, green, blue;
};
constexpr std::array<Shade, 5> shades{
    {{255, 255, 217}, {199, 233, 180}, {65, 182, 196}, {34, 94, 168}, {8, 29, 88}}};

/// The colour from 0, light, to 1, dark.
Shade shade_at(double share) {
  const double place = std::clamp(share, 0.0, 1.0) * static_cast<double>(shades.size() - 1);
  const auto below = std::min(static_cast<std::size_t>(place), shades.size() - 2);
  const double rest = place - static_cast<double>(below);
  const Shade& a = shades[below];
  const Shade& b = shades[below + 1];
  return {a.red + rest * (b.red - a.red), a.green + rest * (b.green - a.green),
          a.blue + rest * (b.blue - a.blue)};
}
std::string hex(const Shade& shade) {
  return fmt::format("#{:02x}{:02x}{:02x}", std::lround(shade.red), std::lround(shade.green),
                     std::lround(shade.blue));
}
bool is_dark(const Shade& s) { return 0.299 * s.red + 0.587 * s.green + 0.114 * s.blue < 140; }

class HeatDrawing {
 public:
  explicit HeatDrawing(const HeatMap& map)
      : map_(map), columns_(map.across.names.size()), rows_(map.up.names.size()) {
    double names = 0;
    for (const std::string& name : map.up.names) names = std::max(names, width_of(name));
    left_ = 40 + names;
    cell_ = std::clamp(widest / static_cast<double>(columns_), 4.0, widest_cell);
    height_ = std::clamp(widest / static_cast<double>(rows_), 4.0, cell_height);
    right_ = left_ + cell_ * static_cast<double>(columns_);
    width_ = right_ + margin + 150;
    title_ = title_lines(map.title, width_ - left_ - margin);
    plan_ = subtitle_lines(map.plan, width_ - left_ - margin);
    top_ = 20 + title_line * static_cast<double>(title_.size() + plan_.size());
  }

  std::string draw() {
    const double panel = height_of_panel() + panel_gap;
    Svg svg(width_, top_ + panel * static_cast<double>(map_.panels.size()) - 20,
            ".cell{stroke:#fff;stroke-width:1}\n.best{fill:none;stroke:#d55e00;stroke-width:3}\n");
    svg.title(left_, 22, title_, plan_);
    double y = top_;
    for (const HeatPanel& values : map_.panels) {
      draw_panel(svg, values, y);
      y += panel;
    }
    return std::move(svg).finish();
  }

 private:
  /// The legend needs some room even where there are few rows.
  double height_of_panel() const { return std::max(height_ * static_cast<double>(rows_), 170.0); }
  double x_of(std::size_t column) const { return left_ + cell_ * static_cast<double>(column); }

  void draw_panel(Svg& svg, const HeatPanel& panel, double top) const {
    std::vector<double> numbers;
    for (const PlotValue& value : panel.values) {
      if (value.number) numbers.push_back(*value.number);
    }
    const PlotScale scale = scale_of(numbers, false);
    const double bottom = top + height_ * static_cast<double>(rows_);
    const auto y_of = [&](std::size_t row) { return bottom - height_ * static_cast<double>(row + 1); };
    const std::optional<std::size_t> best = best_of(panel);
    for (std::size_t i = 0; i < panel.values.size(); ++i)
      draw_cell(svg, panel.values[i], x_of(i % columns_), y_of(i / columns_), scale);
    if (best) {
      svg.write("<rect class=\"best\" x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\"/>\n",
                x_of(*best % columns_), y_of(*best / columns_), cell_, height_);
    }
    draw_axes(svg, top, bottom);
    draw_legend(svg, panel, scale, top);
  }

  /// The best of those that fit.
  static std::optional<std::size_t> best_of(const HeatPanel& panel) {
    std::optional<std::size_t> best;
    for (std::size_t i = 0; i < panel.values.size(); ++i) {
      const PlotValue& value = panel.values[i];
      if (!value.number || !value.fits) continue;
      const bool is_better =
          !best || (panel.quantity.more_is_better ? *value.number > *panel.values[*best].number
                                                  : *value.number < *panel.values[*best].number);
      if (is_better) best = i;
    }
    return best;
  }

  void draw_cell(Svg& svg, const PlotValue& value, double x, double y, const PlotScale& scale) const {
    const Shade shade = value.number ? shade_at(scale.place(*value.number)) : Shade{238, 238, 238};
    const std::string_view ink = is_dark(shade) ? "fill:#fff" : "fill:#000";
    svg.write(
        "<rect class=\"cell\" x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\" fill=\"{}\"/>\n",
        x, y, cell_, height_, hex(shade));
    if (!value.number) return cross(svg, x + cell_ / 2, y + height_ / 2);
    if (!value.fits) corner(svg, x + cell_, y, is_dark(shade) ? "#fff" : "#000");
    const std::string number = print_short(*value.number);
    if (width_of(number) + 4 <= cell_ && height_ >= 14)
      svg.text(x + cell_ / 2, y + height_ / 2 + 4, number, "middle", ink);
  }
  static void cross(Svg& svg, double x, double y) {
    svg.write("<path d=\"M{:.1f} {:.1f}l8 8m0 -8l-8 8\" stroke=\"#777\" stroke-width=\"2\"/>\n", x - 4,
              y - 4);
  }
  static void corner(Svg& svg, double x, double y, std::string_view ink) {
    svg.write("<path d=\"M{:.1f} {:.1f}h-9l9 9z\" fill=\"{}\"/>\n", x - 1, y + 1, ink);
  }

  void draw_axes(Svg& svg, double top, double bottom) const {
    double free_from = 0;
    for (std::size_t i = 0; i < columns_; ++i) {
      const double x = x_of(i) + cell_ / 2;
      const double half = width_of(map_.across.names[i]) / 2 + 3;
      if (x - half < free_from) continue;
      free_from = x + half;
      svg.text(x, bottom + 16, map_.across.names[i], "middle");
    }
    svg.text((left_ + right_) / 2, bottom + 34, map_.across.label, "middle");
    double free_below = bottom + 8;
    for (std::size_t i = 0; i < rows_; ++i) {
      const double y = bottom - height_ * (static_cast<double>(i) + 0.5) + 4;
      if (y > free_below) continue;
      free_below = y - 14;
      svg.text(left_ - 6, y, map_.up.names[i], "end");
    }
    svg.write("<text transform=\"translate(16 {:.1f}) rotate(-90)\" text-anchor=\"middle\">{}</text>\n",
              (top + bottom) / 2, escaped(map_.up.label));
  }

  void draw_legend(Svg& svg, const HeatPanel& panel, const PlotScale& scale, double top) const {
    const double x = right_ + margin;
    const std::string unit = panel.quantity.unit.empty() ? "" : " (" + panel.quantity.unit + ")";
    svg.text(x, top + 10, panel.quantity.label + unit);
    constexpr double length = 90;
    constexpr int slices = 45;
    const double low = top + 22 + length;
    for (int slice = 0; slice < slices; ++slice) {
      svg.write("<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{}\" height=\"{:.1f}\" fill=\"{}\"/>\n", x,
                low - length * (slice + 1) / slices, bar, length / slices + 0.5,
                hex(shade_at((slice + 0.5) / slices)));
    }
    double free_below = low + 20;
    for (const double mark : scale.marks) {
      const double y = low - length * scale.place(mark) + 4;
      if (y > free_below) continue;
      free_below = y - 14;
      svg.text(x + bar + 5, y, print_number(mark));
    }
    draw_signs(svg, panel, x, low + 24);
  }

  void draw_signs(Svg& svg, const HeatPanel& panel, double x, double y) const {
    const auto any = [&](auto holds) { return std::any_of(panel.values.begin(), panel.values.end(), holds); };
    const bool has_unfit = any([](const PlotValue& value) { return value.number && !value.fits; });
    if (best_of(panel)) {
      svg.write("<rect class=\"best\" x=\"{:.1f}\" y=\"{:.1f}\" width=\"12\" height=\"10\"/>\n", x + 1,
                y - 10);
      svg.text(x + 20, y, has_unfit ? "best that fits" : "best");
      y += 18;
    }
    if (has_unfit) {
      corner(svg, x + 12, y - 10, "#000");
      svg.text(x + 20, y, "does not fit in memory");
      y += 18;
    }
    if (!any([](const PlotValue& value) { return !value.number; })) return;
    cross(svg, x + 7, y - 5);
    svg.text(x + 20, y, "fails");
  }

  const HeatMap& map_;
  std::size_t columns_, rows_;
  double left_ = 0, right_ = 0, cell_ = 0, height_ = 0, width_ = 0, top_ = 0;
  std::vector<std::string> title_, plan_;
};

}  // namespace

std::string draw_svg(const HeatMap& map) { return HeatDrawing(map).draw(); }

}  // namespace moesim
