#include "models/base/spread.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <numeric>

namespace moesim {

double normal_exceeded_by(double share) {
  double low = 0;
  double high = 10;
  for (int step = 0; step < 60; ++step) {  // by bisection
    const double middle = (low + high) / 2;
    (0.5 * std::erfc(middle / std::numbers::sqrt2) > share ? low : high) = middle;
  }
  return low;
}

double largest_over_mean(double spread, std::int64_t count) {
  if (count <= 1 || spread <= 0) return 1;
  const auto n = static_cast<double>(count);
  return 1 + spread * normal_exceeded_by(1 - (n - 0.375) / (n + 0.25));
}

std::vector<double> largest_of_groups(double spread, std::int64_t groups, std::int64_t each) {
  if (groups == 1) return {largest_over_mean(spread, each)};
  std::vector<double> largest(static_cast<std::size_t>(groups), 1.0);
  if (spread <= 0) return largest;
  std::vector<std::size_t> order(largest.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  const auto place = [](std::size_t group) {  // multiples of the golden ratio fill a circle evenly
    const double turn = static_cast<double>(group) * std::numbers::phi;
    return turn - std::floor(turn);
  };
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return place(a) < place(b); });
  for (std::size_t i = 0; i < order.size(); ++i) {
    const double below = (static_cast<double>(i) + 0.625) / (static_cast<double>(groups) + 0.25);
    const double above = -std::expm1(std::log(below) / static_cast<double>(each));
    largest[order[i]] = 1 + spread * normal_exceeded_by(above);
  }
  return largest;
}

}  // namespace moesim
