// What samples come to, and how long something has taken on the host.
#pragma once

#include <algorithm>
#include <chrono>
#include <cmath>
#include <vector>

namespace measure {

/// Of at least one; of two in the middle the greater.
inline double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

/// The median absolute deviation from `centre`, scaled to a standard deviation.
inline double deviation(const std::vector<double>& values, double centre) {
  std::vector<double> distances;
  for (const double value : values) distances.push_back(std::abs(value - centre));
  return 1.4826 * median(distances);
}

using Clock = std::chrono::steady_clock;
/// Seconds.
inline double since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

}  // namespace measure
