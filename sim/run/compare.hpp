// One scenario with several values of some keys, run side by side.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "models/config/document.hpp"
#include "sim/read/axes.hpp"
#include "sim/write/comparison.hpp"

namespace moesim {

/// Splits "KEY=a,b,c"; commas inside quotes, brackets and braces belong to a value. Each value is read as
/// that of `--set`. Throws InputError where a part is missing.
VariedKey parse_varied_key(std::string_view argument);

/// What to compare.
struct CompareRequest {
  std::string path;                 ///< of the scenario; "-" is standard input
  std::vector<Override> overrides;  ///< that hold for every run
  std::vector<VariedKey> keys;      ///< their product is run
  unsigned jobs = 1;                ///< runs at a time; the result does not depend on it
  SeesFiles sees_files = {};
};

/// Runs every choice of values. One that fails has its error in its place; what is wrong with the scenario's
/// file itself, or with an override, throws InputError.
Comparison compare(const CompareRequest& request);

}  // namespace moesim
