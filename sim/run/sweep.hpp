// Many points of one scenario, each in a process of its own, kept in a file as they come.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "sim/run/sweep_plan.hpp"
#include "sim/run/workers.hpp"

namespace moesim {

/// A point and what it came to.
struct SweptPoint {
  std::vector<Value> values;  ///< one for each key
  PointResult result;         ///< without report and error where the sweep stopped before it
};

/// How far a sweep has come.
struct SweepProgress {
  std::size_t points = 0, done = 0, found = 0;  ///< found: of the done, those that were in the file
};

/// Sees a sweep go on: how far it is, and the points that came since it was asked last, at first those that
/// the file had. Answers whether to go on.
using SweepWatch =
    std::function<bool(const SweepProgress& progress, const std::vector<const SweptPoint*>& fresh)>;

/// Runs the points that the results file lacks. One that fails or crashes has its error; one that was killed
/// is tried again by the next start. Throws RunError where results cannot be kept: what came before is.
std::vector<SweptPoint> sweep(const SweepPlan& plan, const std::string& results, Workers& workers,
                              const SweepWatch& watch);

/// The keys, then step_time_s, tokens_per_s_per_device, mfu, bubble_fraction, exposed_communication_s,
/// peak_memory, fits, error; a row for each finished point. What does not apply is empty.
std::string write_csv(const SweepPlan& plan, const std::vector<SweptPoint>& points);
/// A line of JSON for each finished point: values, scenario, and report or error.
std::string write_json_lines(const SweepPlan& plan, const std::vector<SweptPoint>& points);

}  // namespace moesim
