// Many points of one scenario, each in a process of its own, kept in a file as they come.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "models/config/document.hpp"
#include "sim/run/results.hpp"
#include "sim/scenario/axes.hpp"

namespace moesim {

/// A key of `--over`, as `batch.microbatch=1,2,4`, `=8..64 x2` or `=0.5..2 step 0.25`. Throws InputError.
VariedKey parse_swept_key(std::string_view argument);

/// What to sweep.
struct SweepRequest {
  std::string path;                 ///< of the scenario; "-" is standard input
  std::vector<Override> overrides;  ///< that hold for every point
  std::vector<ZippedKeys> axes;     ///< after those of the scenario's own "sweep"
  std::string results = ":memory:";
  unsigned jobs = 1;  ///< points at a time; the result does not depend on it
};

/// A sweep's points, in order.
struct SweepPlan {
  std::string text, origin;  ///< the scenario, read once so that it may come from standard input
  std::vector<Override> overrides;
  std::string base;  ///< the scenario without its "sweep" and with its parts' files in it, as JSON
  std::vector<std::string> keys;
  std::vector<std::vector<Value>> points;
};

/// A point and what it came to.
struct SweptPoint {
  std::vector<Value> values;  ///< one for each key
  PointResult result;         ///< without report and error where the sweep stopped before it
};

/// How far a sweep has come.
struct SweepProgress {
  std::size_t points = 0, done = 0, found = 0;  ///< found: of the done, those that were in the file
};

/// Reads the scenario and its axes. Throws InputError, also where nothing is varied.
SweepPlan plan_sweep(const SweepRequest& request);

/// Runs the points that the results file lacks. One that fails or crashes has its error; one that was killed
/// is tried again by the next start. `watch` is called before the first point and after each; where it
/// answers false the sweep stops. Throws RunError where results cannot be kept.
std::vector<SweptPoint> sweep(const SweepPlan& plan, const SweepRequest& request,
                              const std::function<bool(const SweepProgress&)>& watch);

/// The keys, then step_time_s, tokens_per_s_per_device, mfu, bubble_fraction, exposed_communication_s,
/// peak_memory, fits, error; a row for each finished point. What does not apply is empty.
std::string write_csv(const SweepPlan& plan, const std::vector<SweptPoint>& points);
/// A line of JSON for each finished point: values, scenario, and report or error.
std::string write_json_lines(const SweepPlan& plan, const std::vector<SweptPoint>& points);

}  // namespace moesim
