// How often a route names each link for SimGrid, whose weights are whole numbers.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>

#include "sim/graph/task_graph.hpp"

namespace moesim {

inline constexpr double accuracy = 0.0005;  // of a share of a link, where no unit divides all loads
inline constexpr std::int64_t longest_route = 20'000;  // that SimGrid takes in good time

/// Whether routes that mention links once for each `unit` bytes misstate no load by more than `most_s`
/// seconds.
inline bool is_accurate(const TaskGraph& graph, std::span<const Load> loads, double unit, double most_s) {
  return std::ranges::all_of(loads, [&](const Load& load) {
    const double times = load.bytes / unit;
    return std::abs(times - std::round(times)) * unit <= most_s * graph.capacities[load.resource].count;
  });
}

/// The bytes that one mention of a link in a route stands for: those of the link that takes longest, divided
/// by the least number that gives all loads exactly, or else closely, or else as closely as routes may be
/// long.
inline double unit_of(const TaskGraph& graph, const Pattern& pattern) {
  const std::span<const Load> loads = graph.loads_of(pattern);
  double longest_s = 0, bytes = 0, all_bytes = 0;
  for (const Load& load : loads) {
    const double seconds = load.bytes / graph.capacities[load.resource].count;
    if (seconds > longest_s) bytes = load.bytes;
    longest_s = std::max(longest_s, seconds);
    all_bytes += load.bytes;
  }
  const auto most = std::max<std::int64_t>(1, static_cast<std::int64_t>(longest_route * bytes / all_bytes));
  for (const double error : {1e-9, accuracy}) {
    for (std::int64_t times = 1; times <= most; ++times) {
      const double unit = bytes / static_cast<double>(times);
      if (is_accurate(graph, loads, unit, error * longest_s)) return unit;
    }
  }
  return bytes / static_cast<double>(most);
}

}  // namespace moesim
