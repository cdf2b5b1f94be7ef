// Published cases: each is a scenario of the project with a figure that was measured or solved elsewhere.
#pragma once

#include <string>
#include <vector>

#include "models/config/document.hpp"
#include "sim/run/figures.hpp"
#include "sim/scenario/certainty.hpp"
#include "sim/write/validation.hpp"

namespace moesim {

/// A case as its file gives it.
struct PublishedCase {
  JudgedCase judged;  ///< without what is simulated
  const Figure* figure = nullptr;
  std::string scenario;             ///< file
  std::vector<Override> overrides;  ///< of the scenario
  std::vector<Override> over;       ///< what the figure is divided by: that of the same with these on top
  bool is_ratio = false;            ///< whether it is divided
  double times = 1;                 ///< what the simulated figure is multiplied by
};

/// What to validate.
struct ValidateRequest {
  std::string path;                 ///< of the list of groups
  std::vector<std::string> groups;  ///< names or their beginnings; empty: all
  unsigned jobs = 1;                ///< runs at a time; the result does not depend on it
  SeesFiles sees_files = {};
};

/// The cases of the request's groups, in the order of the file. Throws InputError, also for a group that
/// there is not.
std::vector<PublishedCase> load_cases(const ValidateRequest& request);

/// Runs every case; equal scenarios run once. A run that fails is a case with its error. What is expected of
/// a case is told by what else was measured.
Validation validate(const ValidateRequest& request);

/// What the cases and the calibrations of the file tell of errors, by families, and of software what none of
/// the others accounts for.
std::vector<ErrorFamily> residuals_of(const ValidateRequest& request);

}  // namespace moesim
