// What is known of the errors of times.
#pragma once

#include <string>
#include <vector>

#include "models/config/reader.hpp"
#include "sim/scenario/certainty.hpp"

namespace moesim {

/// Reads a file of residuals.
std::vector<ErrorFamily> read_residuals(Reader& reader);

/// Reads how sure times of a scenario are. Without a table of its own it has the project's, where that is
/// found from its file, `origin`.
Certainty read_certainty(Reader reader, const std::string& origin);

}  // namespace moesim
