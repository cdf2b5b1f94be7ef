// One scenario many times, each time with seeds of its own.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "models/config/document.hpp"
#include "sim/run/simulate.hpp"

namespace moesim {

/// What to run.
struct RunRequest {
  std::string path;  ///< of the scenario; "-" is standard input
  std::vector<Override> overrides;
  unsigned jobs = 1;  ///< runs at a time; the result does not depend on it
  SeesFiles sees_files = {};
};

/// A scenario and its run. Where it asks to be repeated, the n-th run adds n to the seeds of routing and
/// faults, and the report of the first one, with seeds as given, has percentiles over all.
struct CompletedRun {
  std::unique_ptr<const Scenario> scenario;  ///< stays where its work has it
  Simulation simulation;
  Value document;  ///< that the scenario was read from
};
CompletedRun run(const RunRequest& request);

}  // namespace moesim
