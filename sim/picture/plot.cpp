#include "sim/picture/plot.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "models/base/grouped.hpp"

namespace moesim {
namespace {

constexpr double widest_span = 30;
constexpr int most_marks = 6;

/// Marks at 1, 2, 5, 10, ... or only at powers of ten where there are many.
PlotScale logarithmic(double least, double most) {
  PlotScale scale{.low = least, .high = most, .is_logarithmic = true, .marks = {}};
  const double decades = std::log10(most / least);
  const auto first = static_cast<int>(std::floor(std::log10(least)));
  for (int power = first; power <= first + static_cast<int>(decades) + 2; ++power) {
    for (const double digit : {1.0, 2.0, 5.0}) {
      if (digit > 1 && decades > 3) continue;
      scale.marks.push_back(digit * std::pow(10.0, power));
    }
  }
  const auto below = std::find_if(scale.marks.rbegin(), scale.marks.rend(),
                                  [&](double mark) { return mark <= least * (1 + 1e-9); });
  const auto above = std::find_if(scale.marks.begin(), scale.marks.end(),
                                  [&](double mark) { return mark >= most * (1 - 1e-9); });
  if (below != scale.marks.rend()) scale.low = *below;
  if (above != scale.marks.end()) scale.high = *above;
  std::erase_if(scale.marks,
                [&](double mark) { return mark < scale.low * (1 - 1e-9) || mark > scale.high * (1 + 1e-9); });
  return scale;
}

double round_step(double span) {
  const double raw = span / most_marks;
  const double power = std::pow(10.0, std::floor(std::log10(raw)));
  for (const double digit : {1.0, 2.0, 5.0}) {
    if (digit * power >= raw * (1 - 1e-9)) return digit * power;
  }
  return 10 * power;
}

}  // namespace

bool PlotAxis::is_logarithmic() const {
  if (numbers.size() < 3 || numbers.front() <= 0) return false;
  for (std::size_t i = 1; i < numbers.size(); ++i) {
    if (numbers[i] < 1.9 * numbers[i - 1]) return false;
  }
  return true;
}

double PlotScale::place(double number) const {
  if (is_logarithmic) return std::log(number / low) / std::log(high / low);
  return (number - low) / (high - low);
}

PlotScale scale_of(const std::vector<double>& numbers, bool from_zero) {
  if (numbers.empty()) return {.marks = {0, 1}};
  const auto [least, most] = std::minmax_element(numbers.begin(), numbers.end());
  if (*least > 0 && *most > widest_span * *least) return logarithmic(*least, *most);
  PlotScale scale{.low = from_zero ? std::min(0.0, *least) : *least, .high = *most, .marks = {}};
  if (scale.high <= scale.low) scale.high = scale.low + std::max(1.0, std::abs(scale.low));
  const double step = round_step(scale.high - scale.low);
  const double first = std::floor(scale.low / step + 1e-9);
  const double last = std::ceil(scale.high / step - 1e-9);
  const int steps = static_cast<int>(last - first);
  for (int i = 0; i <= steps; ++i) scale.marks.push_back((first + i) * step);
  scale.low = scale.marks.front();
  scale.high = scale.marks.back();
  return scale;
}

PlotUnit unit_for(Unit unit, double most) {
  struct Size {
    const char* name;
    double size;
  };
  static constexpr std::array times{Size{"s", 1}, Size{"ms", 1e-3}, Size{"us", 1e-6}, Size{"ns", 1e-9}};
  static constexpr std::array sizes{Size{"TB", 1e12}, Size{"GB", 1e9}, Size{"MB", 1e6}, Size{"kB", 1e3},
                                    Size{"B", 1}};
  const auto pick = [&](const auto& units) -> PlotUnit {
    for (const Size& one : units) {
      if (most >= one.size) return {one.name, 1 / one.size};
    }
    return {units.back().name, 1 / units.back().size};
  };
  switch (unit) {
    case Unit::share:
      return {"%", 100};
    case Unit::seconds:
      return pick(times);
    case Unit::bytes:
      return pick(sizes);
    case Unit::joules:
    case Unit::watts:
    case Unit::kilowatt_hours:
    case Unit::hours:
    case Unit::kilograms:
      return {std::string(unit_names[static_cast<std::size_t>(unit)]), 1};
    default:
      return {};
  }
}

std::string print_number(double number) {
  const bool is_whole = std::abs(number - std::round(number)) < 1e-9 * std::max(1.0, std::abs(number));
  if (is_whole && std::abs(number) >= 1000 && std::abs(number) < 1e15) return grouped(number);
  return fmt::format("{:.6g}", number);
}

std::string print_short(double number) {
  if (number == 0) return "0";
  if (std::abs(number) >= 1000 && std::abs(number) < 1e6) return grouped(std::round(number));
  std::string text = fmt::format("{:#.3g}", number);
  if (text.ends_with('.')) text.pop_back();
  return text;
}

}  // namespace moesim
