#include "sim/sweep/sweep_plot.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "models/base/error.hpp"
#include "sim/picture/plot.hpp"
#include "sim/report/plan.hpp"

namespace moesim {
namespace {

/// A number and what follows it, as "50 GB/s".
struct Amount {
  double number = 0;
  std::string unit;
};

std::optional<Amount> amount_of(const Value& value) {
  if (value.kind == Value::Kind::integer || value.kind == Value::Kind::number)
    return Amount{value.number, {}};
  if (value.kind != Value::Kind::text) return std::nullopt;
  Amount amount;
  const char* const end = value.text.data() + value.text.size();
  const auto [rest, error] = std::from_chars(value.text.data(), end, amount.number);
  if (error != std::errc() || rest == end || *rest != ' ') return std::nullopt;
  amount.unit.assign(rest + 1, end);
  return amount;
}

/// "zipf" of a value, and of {"kind": "zipf", ...}.
std::string name_of(const Value& value) {
  if (value.kind == Value::Kind::text) return value.text;
  const Value* kind = value.find("kind");
  return kind != nullptr && kind->kind == Value::Kind::text && value.members.size() == 1 ? kind->text
                                                                                         : print(value, 32);
}

PlotAxis axis_of(const VariedKey& varied) {
  PlotAxis axis{.label = varied.key == "about" ? "" : varied.key, .names = {}, .numbers = {}};
  std::optional<std::string> unit;
  bool is_rising = true;
  for (const Value& value : varied.values) {
    const std::optional<Amount> amount = amount_of(value);
    is_rising = is_rising && amount && (!unit || *unit == amount->unit) &&
                (axis.numbers.empty() || axis.numbers.back() < amount->number);
    axis.names.push_back(name_of(value));
    if (!is_rising) continue;
    unit = amount->unit;
    axis.numbers.push_back(amount->number);
  }
  if (!is_rising) axis.numbers.clear();
  if (!is_rising || !unit) return axis;
  for (std::size_t i = 0; i < axis.names.size(); ++i) axis.names[i] = print_number(axis.numbers[i]);
  if (!unit->empty()) axis.label += fmt::format(" ({})", *unit);
  return axis;
}

/// Where a sweep's axes go. A point's place on axis `a` is (point / stride[a]) % axes[a].names.size().
struct Arrangement {
  std::vector<PlotAxis> axes;
  std::vector<std::size_t> strides;
  std::optional<std::size_t> across, up;  ///< up: of a heat map
  std::vector<std::size_t> curves;        ///< axes of names, a curve for each choice
};

constexpr std::size_t most_curves = 20;

Arrangement arrange(const SweepPlan& plan) {
  Arrangement all;
  std::vector<std::size_t> numbers;
  for (const ZippedKeys& zipped : plan.axes) {
    all.axes.push_back(axis_of(zipped.front()));
    (all.axes.back().numbers.empty() ? all.curves : numbers).push_back(all.axes.size() - 1);
  }
  all.strides.assign(all.axes.size(), 1);
  for (std::size_t a = all.axes.size() - 1; a > 0; --a)
    all.strides[a - 1] = all.strides[a] * all.axes[a].names.size();
  std::size_t curves = 1;
  for (const std::size_t a : all.curves) curves *= all.axes[a].names.size();
  if (numbers.size() == 1 && curves <= most_curves) {
    all.across = numbers.front();
  } else if (all.axes.size() == 1) {
    all.across = 0;
    all.curves.clear();
  } else if (all.axes.size() == 2) {
    all.up = 0;
    all.across = 1;
  }
  return all;
}

/// What a picture shows of each point.
struct Shown {
  PlotQuantity quantity;
  std::vector<PlotValue> values;
  std::string plan;  ///< what all points have in common
};

Shown shown(const SweptPoints& points, const Measure& measure) {
  const Measure fits = measure_of(fact("fits"));
  Shown result{.quantity = {.label = measure.label, .unit = {}, .more_is_better = measure.more_is_better},
               .values = {},
               .plan = {}};
  std::vector<std::string> plans;
  double most = 0;
  bool is_there = false;
  for (std::size_t point = 0; point < points.plan().points.size(); ++point) {
    const std::string text = points.of(point).report;
    const Value report = text.empty() ? Value{} : parse_json(text, "report of a point");
    const Value* flag = fits.in(report);
    if (const Value* line = report.find("plan")) plans.push_back(line->text);
    result.values.push_back({.number = measure.number_in(report), .fits = flag == nullptr || flag->flag});
    if (const auto& number = result.values.back().number) most = std::max(most, std::abs(*number));
    is_there = is_there || result.values.back().number;
  }
  if (!is_there)
    throw InputError("--plot", fmt::format("no point of this sweep has the number '{}'", measure.name));
  result.plan = common_plan(plans);
  const PlotUnit unit = unit_for(measure.unit, most);
  result.quantity.unit = unit.name;
  for (PlotValue& value : result.values) {
    if (value.number) *value.number *= unit.scale;
  }
  return result;
}

/// The curve of one choice of the axes of names.
Curve curve_of(const Arrangement& all, std::size_t choice, const std::vector<PlotValue>& values) {
  Curve curve;
  std::size_t start = 0;
  for (std::size_t i = all.curves.size(); i-- > 0;) {
    const PlotAxis& axis = all.axes[all.curves[i]];
    const std::size_t place = choice % axis.names.size();
    choice /= axis.names.size();
    curve.name = axis.names[place] + (curve.name.empty() ? "" : ", ") + curve.name;
    start += place * all.strides[all.curves[i]];
  }
  for (std::size_t i = 0; i < all.axes[*all.across].names.size(); ++i)
    curve.values.push_back(values[start + i * all.strides[*all.across]]);
  return curve;
}

std::string legend_of(const Arrangement& all) {
  std::string legend;
  for (const std::size_t a : all.curves) {
    if (!all.axes[a].label.empty()) legend += (legend.empty() ? "" : ", ") + all.axes[a].label;
  }
  return legend;
}

}  // namespace

void check_drawable(const SweepPlan& plan) {
  const Arrangement all = arrange(plan);
  if (all.across) return;
  std::vector<std::string> keys;
  for (const ZippedKeys& zipped : plan.axes) keys.push_back(zipped.front().key);
  throw InputError(
      "--svg",
      fmt::format("a picture has one or two axes, or one of numbers and at most {} curves of names; "
                  "this sweep has {}: {}",
                  most_curves, keys.size(), fmt::join(keys, ", ")),
      "take a value for some of them with --set instead of --over");
}

std::string draw_sweep(const SweptPoints& points, const std::vector<Measure>& measures) {
  const SweepPlan& plan = points.plan();
  check_drawable(plan);
  const Arrangement all = arrange(plan);
  if (all.up) {
    HeatMap map{.title = plan.title,
                .plan = {},
                .across = all.axes[*all.across],
                .up = all.axes[*all.up],
                .panels = {}};
    for (const Measure& measure : measures) {
      Shown panel = shown(points, measure);
      map.plan = panel.plan;
      map.panels.push_back({std::move(panel.quantity), std::move(panel.values)});
    }
    return draw_svg(map);
  }
  CurvePlot plot{.title = plan.title,
                 .plan = {},
                 .across = all.axes[*all.across],
                 .legend = legend_of(all),
                 .panels = {}};
  std::size_t curves = 1;
  for (const std::size_t a : all.curves) curves *= all.axes[a].names.size();
  for (const Measure& measure : measures) {
    const Shown panel = shown(points, measure);
    plot.plan = panel.plan;
    CurvePanel& drawn = plot.panels.emplace_back(CurvePanel{panel.quantity, {}});
    for (std::size_t choice = 0; choice < curves; ++choice)
      drawn.curves.push_back(curve_of(all, choice, panel.values));
  }
  return draw_svg(plot);
}

}  // namespace moesim
