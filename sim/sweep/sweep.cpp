#include "sim/sweep/sweep.hpp"

#include <fmt/format.h>

#include "models/config/values.hpp"

namespace moesim {

PointResult SweptPoints::of(std::size_t point) const {
  const auto killed = killed_.find(point);
  return killed != killed_.end() ? killed->second : results_->find(choice_of(*plan_, point));
}

Results open_results(const SweepPlan& plan, const std::string& path) {
  return Results(path, plan.base, one_line(list_of(plan.keys)));
}

/// One sweep on its way.
class Sweep {
 public:
  Sweep(const SweepPlan& plan, Results& results) : plan_(plan), results_(results), points_(plan, results) {
    const std::map<std::string, bool> known = results.known();
    progress_.points = plan.points.size();
    for (std::size_t point = 0; point < plan.points.size(); ++point) {
      const auto found = known.find(choice_of(plan, point));
      (found == known.end() ? missing_ : fresh_).push_back(point);
      progress_.failed += found != known.end() && found->second ? 1 : 0;
    }
    progress_.done = progress_.found = fresh_.size();
  }

  SweptPoints run(Workers& workers, const SweepWatch& watch) && {
    std::size_t next = 0;
    bool goes_on = watch(progress_, points_, fresh_);
    while (goes_on && (next < missing_.size() || workers.count() > 0)) {
      while (next < missing_.size() && workers.is_free(missing_.size() - next)) workers.add(missing_[next++]);
      take(workers.wait());
      goes_on = watch(progress_, points_, fresh_);
    }
    if (!goes_on) points_.killed_.clear();  // who stopped the sweep may have stopped them as well
    return std::move(points_);
  }

 private:
  /// Keeps those that are final, all at once.
  void take(std::vector<FinishedPoint> finished) {
    std::vector<std::pair<std::string, const PointResult*>> rows;
    for (const FinishedPoint& one : finished) {
      if (one.is_final) rows.emplace_back(choice_of(plan_, one.point), &one.result);
    }
    if (!rows.empty()) results_.keep(rows);
    fresh_.clear();
    for (FinishedPoint& one : finished) {
      fresh_.push_back(one.point);
      progress_.failed += one.result.error.empty() ? 0 : 1;
      if (!one.is_final) points_.killed_[one.point] = std::move(one.result);
    }
    progress_.done += fresh_.size();
  }

  const SweepPlan& plan_;
  Results& results_;
  SweptPoints points_;
  SweepProgress progress_;
  std::vector<std::size_t> missing_, fresh_;
};

SweptPoints sweep(const SweepPlan& plan, Results& results, Workers& workers, const SweepWatch& watch) {
  return Sweep(plan, results).run(workers, watch);
}

}  // namespace moesim
