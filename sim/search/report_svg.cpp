// Time against memory of the plans that a search simulated, as SVG: those that nothing beats in both are
// joined.
#include <fmt/format.h>

#include <algorithm>

#include "sim/picture/plot.hpp"
#include "sim/picture/svg.hpp"
#include "sim/search/report.hpp"

namespace moesim {
namespace {

// Pixels.
constexpr double left = 70, width = 470, height = 300, right = 24, below = 58;

class FrontDrawing {
 public:
  explicit FrontDrawing(const SearchResult& result)
      : result_(result),
        title_(title_lines(fmt::format("Plans for {} on {}", result.model, result.cluster), width)) {
    below_title_ = subtitle_lines(result.title.empty() ? result.on : result.title + "; " + result.on, width);
    top_ = 24 + title_line * static_cast<double>(title_.size() + below_title_.size());
    std::vector<double> times;
    std::vector<double> sizes{gigabytes(result.memory_limit)};
    for (const FoundPlan& plan : result.simulated) {
      if (!plan.report) continue;
      times.push_back(to_seconds(plan.report->step_time));
      sizes.push_back(gigabytes(plan.report->memory_peak()));
    }
    if (const auto& own = result.own.plan.report) {
      times.push_back(to_seconds(own->step_time));
      sizes.push_back(gigabytes(own->memory_peak()));
    }
    if (!times.empty())
      unit_ = unit_for(fact("step_time_s").unit, *std::max_element(times.begin(), times.end()));
    for (double& time : times) time *= unit_.scale;
    across_ = scale_of(times, false);
    up_ = scale_of(sizes, true);
  }

  std::string draw() {
    Svg svg(left + width + right, top_ + height + below,
            ".grid{stroke:#ddd;stroke-width:1}\n.frame{stroke:#555;stroke-width:1;fill:none}\n"
            ".plan{fill:#56b4e9}\n.front{fill:#d55e00}\n.way{fill:none;stroke:#d55e00;stroke-width:1.6}\n"
            ".own{fill:none;stroke:#000;stroke-width:1.4}\n"
            ".limit{stroke:#000;stroke-width:1.4;stroke-dasharray:6 4}\n");
    svg.title(left, 22, title_, below_title_);
    axes(svg);
    limit(svg);
    for (const FoundPlan& plan : result_.simulated) {
      if (plan.report) dot(svg, plan, "plan", 3);
    }
    front(svg);
    own(svg);
    return std::move(svg).finish();
  }

 private:
  static double gigabytes(Bytes bytes) { return static_cast<double>(bytes.count) / 1e9; }
  double x_of(const FoundPlan& plan) const {
    return left + width * across_.place(unit_.scale * to_seconds(plan.report->step_time));
  }
  double y_of(Bytes bytes) const { return top_ + height * (1 - up_.place(gigabytes(bytes))); }

  void axes(Svg& svg) const {
    double free_from = 0;
    for (const double mark : across_.marks) {
      const double x = left + width * across_.place(mark);
      const std::string name = print_number(mark);
      svg.write("<path class=\"grid\" d=\"M{:.1f} {:.1f}v{}\"/>\n", x, top_, height);
      if (x - width_of(name) / 2 < free_from) continue;
      free_from = x + width_of(name) / 2 + 4;
      svg.text(x, top_ + height + 16, name, "middle");
    }
    for (const double mark : up_.marks) {
      const double y = top_ + height * (1 - up_.place(mark));
      svg.write("<path class=\"grid\" d=\"M{} {:.1f}h{}\"/>\n", left, y, width);
      svg.text(left - 7, y + 4, print_number(mark), "end");
    }
    svg.write("<rect class=\"frame\" x=\"{}\" y=\"{:.1f}\" width=\"{}\" height=\"{}\"/>\n", left, top_, width,
              height);
    svg.text(left + width / 2, top_ + height + 36,
             fmt::format("{} ({})", fact("step_time_s").label, unit_.name), "middle");
    svg.write(
        "<text transform=\"translate(18 {:.1f}) rotate(-90)\" text-anchor=\"middle\">memory (GB)</text>\n",
        top_ + height / 2);
  }

  void limit(Svg& svg) const {
    const double y = y_of(result_.memory_limit);
    svg.write("<path class=\"limit\" d=\"M{} {:.1f}h{}\"/>\n", left, y, width);
    svg.text(left + width - 6, y - 5, "memory limit", "end");
  }

  void dot(Svg& svg, const FoundPlan& plan, std::string_view look, double radius) const {
    svg.write(
        "<circle class=\"{}\" cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"{}\"><title>{}: {}, {}</title></circle>\n",
        look, x_of(plan), y_of(plan.report->memory_peak()), radius, escaped(print(plan)),
        print("step_time_s", *plan.report), print("peak_memory", *plan.report));
  }

  /// Steps: with more memory than a plan of the front takes nothing is faster until the next one.
  void front(Svg& svg) const {
    std::string way;
    for (const std::size_t i : result_.front) {
      const FoundPlan& plan = result_.simulated[i];
      const double y = y_of(plan.report->memory_peak());
      way += way.empty() ? fmt::format("M{:.1f} {:.1f}", x_of(plan), y)
                         : fmt::format("H{:.1f}V{:.1f}", x_of(plan), y);
    }
    if (!way.empty()) svg.write("<path class=\"way\" d=\"{}\"/>\n", way);
    double free_from = 0;
    for (const std::size_t i : result_.front) {
      const FoundPlan& plan = result_.simulated[i];
      dot(svg, plan, "front", 4.5);
      const std::string number = fmt::format("{}", i + 1);
      const double x = x_of(plan) - 4;  // nothing lies below and to the left of the front
      if (x - width_of(number) < free_from) continue;
      free_from = x + 4;
      svg.text(x, y_of(plan.report->memory_peak()) + 15, number, "end");
    }
  }

  /// A ring around the scenario's own plan.
  void own(Svg& svg) const {
    const FoundPlan& plan = result_.own.plan;
    if (!plan.report) return;
    dot(svg, plan, "own", 7);
    svg.text(x_of(plan) + 10, y_of(plan.report->memory_peak()) - 6, "own", "start");
  }

  const SearchResult& result_;
  std::vector<std::string> title_, below_title_;
  double top_ = 0;
  PlotUnit unit_{"s", 1};
  PlotScale across_, up_;
};

}  // namespace

std::string draw_svg(const SearchResult& result) { return FrontDrawing(result).draw(); }

}  // namespace moesim
