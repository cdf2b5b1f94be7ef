// From JSON to a scenario.
#pragma once

#include <string>
#include <vector>

#include "models/config/document.hpp"
#include "models/config/reader.hpp"
#include "sim/scenario/scenario.hpp"

namespace moesim {

/// Reads a scenario document and cross-checks it. Throws InputError.
Scenario read_scenario(const Value& document);
Scenario read_scenario(Reader reader);
/// Loads a file ("-" is standard input) with overrides.
Scenario load_scenario(const std::string& path, const std::vector<Override>& overrides = {});

/// The keys of the parts that are no family: "scenario", "batch", "parallelism", ... for `moesim describe`.
struct DescribedPart {
  std::string name;
  std::string sentence;
  std::vector<Declaration> keys;
};
std::vector<DescribedPart> describe_scenario();

}  // namespace moesim
