// Pictures of many runs: curves over one axis, heat maps over two.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "sim/report/fact.hpp"

namespace moesim {

/// An axis with the places that have values: numbers, or names side by side.
struct PlotAxis {
  std::string label;               ///< with unit, as "nic_rate (GB/s)"; may be empty
  std::vector<std::string> names;  ///< of each place
  std::vector<double> numbers;     ///< the same as numbers; empty where they are names
  bool is_logarithmic() const;     ///< each number is about twice the one before it, or more
};

/// What stands at one place.
struct PlotValue {
  std::optional<double> number;  ///< nothing where the run failed, or has no such number
  bool fits = true;              ///< in memory
};

/// What is shown: its name and unit, and how its values are to be read.
struct PlotQuantity {
  std::string label, unit;
  bool more_is_better = false;
};

/// One curve: a value for each place of the axis.
struct Curve {
  std::string name;
  std::vector<PlotValue> values;
};

/// Several curves of one quantity.
struct CurvePanel {
  PlotQuantity quantity;
  std::vector<Curve> curves;
};

/// Panels one below the other, over the same axis.
struct CurvePlot {
  std::string title;
  std::string plan{};  ///< what all runs have in common, below the title; may be empty
  PlotAxis across;
  std::string legend;  ///< over the names of the curves; may be empty
  std::vector<CurvePanel> panels;
};

/// Values for all places of two axes, row by row from the bottom.
struct HeatPanel {
  PlotQuantity quantity;
  std::vector<PlotValue> values;
};

/// Heat maps one below the other.
struct HeatMap {
  std::string title;
  std::string plan{};  ///< what all runs have in common, below the title; may be empty
  PlotAxis across, up;
  std::vector<HeatPanel> panels;
};

/// One self-contained SVG. Curves that lie on each other are drawn as one.
std::string draw_svg(const CurvePlot& plot);
std::string draw_svg(const HeatMap& map);

/// The scale of an axis of values: round marks, on a logarithm where values span more than a factor of
/// thirty.
struct PlotScale {
  double low = 0, high = 1;
  bool is_logarithmic = false;
  std::vector<double> marks;

  /// From 0 at `low` to 1 at `high`.
  double place(double number) const;
};
PlotScale scale_of(const std::vector<double>& numbers, bool from_zero);

/// The unit in which values up to that size are shown, and what to multiply them by.
struct PlotUnit {
  std::string name;
  double scale = 1;
};
PlotUnit unit_for(Unit unit, double most);

/// "12,800", "0.25", "1.5e-05".
std::string print_number(double number);
/// The same with three or four digits, for cells.
std::string print_short(double number);

}  // namespace moesim
