// `moesim explain`: every single change of a scenario is simulated, and pairs of the best.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "models/config/document.hpp"
#include "sim/explain/changes.hpp"
#include "sim/report/report.hpp"
#include "sim/write/writer.hpp"

namespace moesim {

/// A change, and what it came to.
struct TriedChange {
  Change change;
  std::optional<Report> report;
  std::string error;  ///< why the scenario is refused, or cannot run, with it
  double gain = 0;    ///< of the step time: 0.1 is a tenth less; below zero it takes longer
};

/// Two settings together.
struct TriedPair {
  std::size_t first = 0, second = 0;  ///< into Explanation::changes
  std::optional<Report> report;
  std::string error;
  double gain = 0;
};

struct Explanation {
  std::string about, title;  ///< title: `about`, and what the command line changed of it
  std::string scenario;      ///< the whole document, as JSON
  Report base;
  std::vector<TriedChange> changes;  ///< by gain; those that did not run are last, in the order of their keys
  std::vector<TriedPair> pairs;      ///< that gain more than either of the two, by gain
  std::size_t top = 10;              ///< of each kind, as text
};

struct ExplainRequest {
  std::string path;                 ///< of the scenario; "-" is standard input
  std::vector<Override> overrides;  ///< that hold for every run
  unsigned jobs = 1;                ///< runs at a time; the result does not depend on it
  SeesFiles sees_files = {};
  /// Told after each run how many of how many are done; from one thread at a time.
  std::function<void(std::size_t done, std::size_t all)> progress = {};
};

/// Throws InputError for what is wrong with the scenario itself, RunError where it does not run.
Explanation explain(const ExplainRequest& request);

/// Text, JSON (schema "moesim.explain/1") and a table with a row for each change and pair.
Told tell(const Explanation& explanation);

}  // namespace moesim
