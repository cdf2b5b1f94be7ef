// What a sweep is to run: a scenario, the keys that it varies, and the points that they span.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "models/config/document.hpp"
#include "sim/read/axes.hpp"
#include "sim/sweep/results.hpp"

namespace moesim {

/// A key of `--over`, as `batch.microbatch=1,2,4`, `=8..64 x2` or `=0.5..2 step 0.25`. Throws InputError.
VariedKey parse_swept_key(std::string_view argument);

/// What to sweep.
struct SweepRequest {
  std::string path;                 ///< of the scenario; "-" is standard input
  std::vector<Override> overrides;  ///< that hold for every point
  std::vector<ZippedKeys> axes;     ///< after those of the scenario's own "sweep"
  unsigned jobs = 1;  ///< points at a time, of a rank where there are ranks; the result does not depend on it
};

/// A sweep's points, in order.
struct SweepPlan {
  std::string text, origin;  ///< the scenario, read once so that it may come from standard input
  std::vector<Override> overrides;
  std::string title;  ///< the scenario's "about", and what the overrides changed of it
  std::string base;   ///< the scenario without its "sweep" and with its parts' files in it, as JSON
  std::vector<ZippedKeys> axes;
  std::vector<std::string> keys;
  std::vector<std::vector<Value>> points;
  /// A mark of what they hold, of the values that are files or name some; by "KEY=VALUE".
  std::map<std::string, std::string> contents;
};

/// Reads the scenario and its axes. Throws InputError, also where nothing is varied.
SweepPlan plan_sweep(const SweepRequest& request);
/// The same of the text of a scenario that has been read.
SweepPlan plan_sweep(const SweepRequest& request, std::string text);

/// The values of a point as one line of JSON: its name among results. Where a value is a file, what that
/// holds is part of the name.
std::string choice_of(const SweepPlan& plan, std::size_t point);

/// What one who runs points of the plan must see as well: its scenario, and what files of swept values hold.
std::string basis_of(const SweepPlan& plan);

/// Every file that some point may need.
std::vector<std::string> files_needed(const SweepPlan& plan);

/// Reads the scenario of the first point. Throws InputError where it has a key that neither it nor the last
/// point knows: a value that fails is a row, a misspelt key would be one for every point.
void check_keys(const SweepPlan& plan);

/// Simulates one point. What goes wrong is in the result.
PointResult run_point(const SweepPlan& plan, std::size_t point);

}  // namespace moesim
