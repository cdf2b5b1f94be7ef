// Many points of one scenario, each in a process of its own, kept in a file as they come.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "sim/sweep/sweep_plan.hpp"
#include "sim/sweep/workers.hpp"
#include "sim/write/writer.hpp"

namespace moesim {

/// How far a sweep has come.
struct SweepProgress {
  std::size_t points = 0, done = 0, found = 0;  ///< found: of the done, those that were in the file
  std::size_t failed = 0;                       ///< of the done
};

/// A plan's points. What they came to is read from where it is kept when it is asked for: there may be many.
class SweptPoints {
 public:
  /// Of a plan and results that outlive it.
  SweptPoints(const SweepPlan& plan, Results& results) : plan_(&plan), results_(&results) {}
  const SweepPlan& plan() const { return *plan_; }
  /// Without report and error where the sweep stopped before it.
  PointResult of(std::size_t point) const;

 private:
  friend class Sweep;
  const SweepPlan* plan_;
  Results* results_;
  std::map<std::size_t, PointResult> killed_;  // that are not kept
};

/// Opens the file of results for a plan; ":memory:" is none. Throws as Results does.
Results open_results(const SweepPlan& plan, const std::string& path);

/// Sees a sweep go on: how far it is, and the points that came since it was asked last, at first those that
/// the file had. Returns whether to go on.
using SweepWatch = std::function<bool(const SweepProgress& progress, const SweptPoints& points,
                                      const std::vector<std::size_t>& fresh)>;

/// Runs the points that the results lack. One that fails or crashes has its error; one that was killed is
/// tried again by the next start, and left out where the watch stops the sweep. Throws RunError where results
/// cannot be kept: what came before is.
SweptPoints sweep(const SweepPlan& plan, Results& results, Workers& workers, const SweepWatch& watch);

/// The finished points.
/// Table: the keys, the columns that are compared, error, those that came later, plan. What does not apply is
/// empty.
/// JSON, a line for each: values, scenario, and report or error.
Told tell(const SweptPoints& points);

}  // namespace moesim
