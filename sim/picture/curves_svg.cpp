// Curves as SVG. Each has its own colour, dashes and marks, so that print without colours tells them apart.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "sim/picture/plot.hpp"
#include "sim/picture/svg.hpp"

namespace moesim {
namespace {

// Pixels.
constexpr double left = 78, plot = 430, panel_height = 250, panel_gap = 62, margin = 16, legend_line = 20;
constexpr std::size_t longest_name = 24;  // letters
constexpr std::string_view faint = "fill:#555";

/// How the n-th curve looks.
struct Look {
  std::string_view stroke, dashes;
  int shape;
};
constexpr std::array<std::string_view, 7> strokes{colour::blue,   colour::vermilion, colour::green,
                                                  colour::purple, colour::orange,    colour::sky,
                                                  colour::black};
constexpr std::array<std::string_view, 4> dashes{"", "7 3", "2 3", "9 3 2 3"};
Look look_of(std::size_t curve) {
  return {strokes[curve % strokes.size()], dashes[curve % dashes.size()], static_cast<int>(curve % 5)};
}

bool same(const Curve& a, const Curve& b) {
  return std::equal(a.values.begin(), a.values.end(), b.values.begin(), b.values.end(),
                    [](const PlotValue& x, const PlotValue& y) {
                      if (x.number.has_value() != y.number.has_value() || x.fits != y.fits) return false;
                      return !x.number || std::abs(*x.number - *y.number) <= 1e-9 * std::abs(*x.number);
                    });
}

/// Curves that lie on each other become one, with all names.
std::vector<Curve> merged(const std::vector<Curve>& curves) {
  std::vector<Curve> result;
  for (const Curve& curve : curves) {
    const auto twin =
        std::find_if(result.begin(), result.end(), [&](const Curve& c) { return same(c, curve); });
    if (twin == result.end()) {
      result.push_back(curve);
    } else {
      twin->name += ", " + curve.name;
    }
  }
  return result;
}

/// A panel ready to be drawn: merged curves keep the look of their first.
class CurvesDrawing {
 public:
  explicit CurvesDrawing(const CurvePlot& picture) : picture_(picture) {
    for (const CurvePanel& panel : picture.panels) panels_.push_back({panel.quantity, merged(panel.curves)});
    for (const CurvePanel& panel : panels_) {
      for (const Curve& curve : panel.curves) {
        for (const std::string& line : lines_of(curve.name, longest_name))
          legend_width_ = std::max(legend_width_, 44 + width_of(line));
        for (const PlotValue& value : curve.values) {
          has_failed_ = has_failed_ || !value.number;
          has_unfit_ = has_unfit_ || (value.number && !value.fits);
        }
      }
    }
    if (!has_names()) legend_width_ = 0;
    if (has_failed_) legend_width_ = std::max(legend_width_, 44 + width_of("fails"));
    if (has_unfit_) legend_width_ = std::max(legend_width_, 44 + width_of("does not fit"));
    legend_width_ = std::max(legend_width_, width_of(picture.legend) + 10);
    width_ = left + plot + margin + legend_width_ + (legend_width_ > 0 ? margin : 0);
    title_ = title_lines(picture.title, width_ - left - margin);
    plan_ = subtitle_lines(picture.plan, width_ - left - margin);
    top_ = 20 + title_line * static_cast<double>(title_.size() + plan_.size());
    place_across();
  }

  std::string draw() {
    const double height = top_ + static_cast<double>(panels_.size()) * (panel_height + panel_gap) - 20;
    Svg svg(width_, height,
            ".grid{stroke:#ddd;stroke-width:1}\n.frame{stroke:#555;stroke-width:1;fill:none}\n"
            ".curve{fill:none;stroke-width:1.8}\n");
    svg.title(left, 22, title_, plan_);
    double y = top_;
    for (const CurvePanel& panel : panels_) {
      draw_panel(svg, panel, y);
      y += panel_height + panel_gap;
    }
    return std::move(svg).finish();
  }

 private:
  /// Whether there is more than one curve, before those that lie on each other are one.
  bool has_names() const { return picture_.panels.front().curves.size() > 1; }

  /// Where the places of the axis stand, from 0 to 1.
  void place_across() {
    const PlotAxis& axis = picture_.across;
    const auto count = static_cast<double>(axis.names.size());
    for (std::size_t i = 0; i < axis.names.size(); ++i) {
      if (axis.numbers.empty() || axis.names.size() == 1) {
        places_.push_back((static_cast<double>(i) + 0.5) / count);
        continue;
      }
      const auto [low, high] = std::minmax_element(axis.numbers.begin(), axis.numbers.end());
      const double share = axis.is_logarithmic() ? std::log(axis.numbers[i] / *low) / std::log(*high / *low)
                                                 : (axis.numbers[i] - *low) / (*high - *low);
      places_.push_back(0.03 + 0.94 * share);
    }
  }
  double x_of(std::size_t place) const { return left + plot * places_[place]; }

  static PlotScale values_of(const CurvePanel& panel) {
    std::vector<double> numbers;
    for (const Curve& curve : panel.curves) {
      for (const PlotValue& value : curve.values) {
        if (value.number) numbers.push_back(*value.number);
      }
    }
    return scale_of(numbers, true);
  }

  void draw_panel(Svg& svg, const CurvePanel& panel, double top) const {
    const PlotScale scale = values_of(panel);
    const double bottom = top + panel_height;
    for (const double mark : scale.marks) {
      const double y = bottom - panel_height * scale.place(mark);
      svg.write("<path class=\"grid\" d=\"M{} {:.1f}h{}\"/>\n", left, y, plot);
      svg.text(left - 7, y + 4, print_number(mark), "end");
    }
    draw_across(svg, top, bottom);
    svg.write("<rect class=\"frame\" x=\"{}\" y=\"{:.1f}\" width=\"{}\" height=\"{}\"/>\n", left, top, plot,
              panel_height);
    const std::string unit = panel.quantity.unit.empty() ? "" : " (" + panel.quantity.unit + ")";
    svg.write("<text transform=\"translate(18 {:.1f}) rotate(-90)\" text-anchor=\"middle\">{}</text>\n",
              top + panel_height / 2, escaped(panel.quantity.label + unit));
    std::vector<int> failed(places_.size());
    for (std::size_t i = 0; i < panel.curves.size(); ++i)
      draw_curve(svg, panel.curves[i], look_of(i), scale, bottom, failed);
    draw_legend(svg, panel, top);
  }

  void draw_across(Svg& svg, double top, double bottom) const {
    double free_from = 0;
    for (std::size_t i = 0; i < places_.size(); ++i) {
      const double x = x_of(i);
      const double half = width_of(picture_.across.names[i]) / 2 + 3;
      if (x - half < free_from) continue;
      free_from = x + half;
      svg.write("<path class=\"grid\" d=\"M{:.1f} {:.1f}v{}\"/>\n", x, top, panel_height);
      svg.text(x, bottom + 16, picture_.across.names[i], "middle");
    }
    svg.text(left + plot / 2, bottom + 34, picture_.across.label, "middle");
  }

  void draw_curve(Svg& svg, const Curve& curve, const Look& look, const PlotScale& scale, double bottom,
                  std::vector<int>& failed) const {
    std::string path;
    bool is_joined = false;
    const bool is_line = !picture_.across.numbers.empty();
    const auto y_of = [&](double number) { return bottom - panel_height * scale.place(number); };
    for (std::size_t i = 0; i < curve.values.size(); ++i) {
      if (const auto& number = curve.values[i].number)
        path += fmt::format("{}{:.1f} {:.1f}", is_joined ? "L" : "M", x_of(i), y_of(*number));
      is_joined = curve.values[i].number.has_value();
    }
    if (is_line && !path.empty())
      svg.write("<path class=\"curve\" stroke=\"{}\" stroke-dasharray=\"{}\" d=\"{}\"/>\n", look.stroke,
                look.dashes.empty() ? "none" : look.dashes, path);
    for (std::size_t i = 0; i < curve.values.size(); ++i) {
      const PlotValue& value = curve.values[i];
      if (value.number) {
        mark(svg, x_of(i), y_of(*value.number), look, value.fits);
      } else {
        cross(svg, x_of(i), bottom - 8 - 11 * failed[i]++, look.stroke);
      }
    }
  }

  /// A filled mark; a hollow one where the run does not fit in memory.
  static void mark(Svg& svg, double x, double y, const Look& look, bool fits) {
    const std::string paint = fmt::format("fill=\"{}\" stroke=\"{}\" stroke-width=\"1.6\"",
                                          fits ? look.stroke : std::string_view("#fff"), look.stroke);
    switch (look.shape) {
      case 0:
        return svg.write("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"3.6\" {}/>\n", x, y, paint);
      case 1:
        return svg.write("<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"6.6\" height=\"6.6\" {}/>\n", x - 3.3,
                         y - 3.3, paint);
      case 2:
        return svg.write("<path d=\"M{:.1f} {:.1f}l4.2 7.2h-8.4z\" {}/>\n", x, y - 4.8, paint);
      case 3:
        return svg.write("<path d=\"M{:.1f} {:.1f}l4.6 4.6l-4.6 4.6l-4.6 -4.6z\" {}/>\n", x, y - 4.6, paint);
      default:
        return svg.write("<path d=\"M{:.1f} {:.1f}l4.2 -7.2h-8.4z\" {}/>\n", x, y + 4.8, paint);
    }
  }

  static void cross(Svg& svg, double x, double y, std::string_view stroke) {
    svg.write("<path d=\"M{:.1f} {:.1f}l7 7m0 -7l-7 7\" stroke=\"{}\" stroke-width=\"2\" fill=\"none\"/>\n",
              x - 3.5, y - 3.5, stroke);
  }

  void draw_legend(Svg& svg, const CurvePanel& panel, double top) const {
    const double x = left + plot + margin;
    double y = top + 10;
    if (!picture_.legend.empty()) {
      svg.text(x, y, picture_.legend, "start", faint);
      y += legend_line;
    }
    for (std::size_t i = 0; has_names() && i < panel.curves.size(); ++i) {
      const Look look = look_of(i);
      svg.write("<path class=\"curve\" stroke=\"{}\" stroke-dasharray=\"{}\" d=\"M{} {:.1f}h30\"/>\n",
                look.stroke, look.dashes.empty() ? "none" : look.dashes, x, y - 4);
      mark(svg, x + 15, y - 4, look, true);
      for (const std::string& line : lines_of(panel.curves[i].name, longest_name)) {
        svg.text(x + 37, y, line);
        y += 15;
      }
      y += legend_line - 15;
    }
    if (has_unfit_) {
      mark(svg, x + 15, y - 4, {"#555", "", 0}, false);
      svg.text(x + 37, y, "does not fit");
      y += legend_line;
    }
    if (has_failed_) {
      cross(svg, x + 15, y - 4, "#555");
      svg.text(x + 37, y, "fails");
    }
  }

  const CurvePlot& picture_;
  std::vector<CurvePanel> panels_;
  std::vector<double> places_;
  std::vector<std::string> title_, plan_;
  double legend_width_ = 0, width_ = 0, top_ = 0;
  bool has_failed_ = false, has_unfit_ = false;
};

}  // namespace

std::string draw_svg(const CurvePlot& picture) { return CurvesDrawing(picture).draw(); }

}  // namespace moesim
