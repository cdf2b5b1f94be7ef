#include "sim/run/sweep.hpp"

#include <fmt/format.h>

namespace moesim {
namespace {

/// The plan's points with what the file has of them.
std::vector<SweptPoint> known_points(const SweepPlan& plan, const Results& results) {
  const auto known = results.load();
  std::vector<SweptPoint> points;
  for (const std::vector<Value>& values : plan.points) {
    const auto found = known.find(choice_of(values));
    points.push_back({values, found == known.end() ? PointResult{} : found->second});
  }
  return points;
}

/// Keeps the final ones, all at once.
void keep(Results& results, const SweepPlan& plan, const std::vector<FinishedPoint>& finished) {
  std::vector<std::pair<std::string, const PointResult*>> rows;
  for (const FinishedPoint& one : finished) {
    if (one.is_final) rows.emplace_back(choice_of(plan.points[one.point]), &one.result);
  }
  if (!rows.empty()) results.keep(rows);
}

}  // namespace

std::vector<SweptPoint> sweep(const SweepPlan& plan, const std::string& path, Workers& workers,
                              const SweepWatch& watch) {
  Value keys{.kind = Value::Kind::list};
  for (const std::string& key : plan.keys) keys.items.push_back({.kind = Value::Kind::text, .text = key});
  Results results(path, plan.base, choice_of(keys.items));
  std::vector<SweptPoint> points = known_points(plan, results);
  std::vector<std::size_t> missing;
  std::vector<const SweptPoint*> fresh;
  for (std::size_t i = 0; i < points.size(); ++i) {
    if (!points[i].result.is_known()) missing.push_back(i);
    if (points[i].result.is_known()) fresh.push_back(&points[i]);
  }
  SweepProgress progress{.points = points.size(), .done = fresh.size(), .found = fresh.size()};
  std::size_t next = 0;
  bool goes_on = watch(progress, fresh);
  while (goes_on && (next < missing.size() || workers.count() > 0)) {
    while (next < missing.size() && workers.is_free(missing.size() - next)) workers.add(missing[next++]);
    std::vector<FinishedPoint> finished = workers.wait();
    keep(results, plan, finished);
    fresh.clear();
    for (FinishedPoint& one : finished) {
      points[one.point].result = std::move(one.result);
      fresh.push_back(&points[one.point]);
    }
    progress.done += fresh.size();
    goes_on = watch(progress, fresh);
  }
  return points;
}

}  // namespace moesim
