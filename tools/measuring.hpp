// Runs moesim-measure, which is a program of its own: GPU nodes build it alone.
#pragma once

#include <string>
#include <vector>

namespace moesim {

/// Runs `program` (empty: the one beside this program, or on the PATH) with `arguments` and waits for its
/// end. Throws MissingError where it or a GPU is missing, RunError where it fails or was interrupted: then it
/// has written nothing.
void run_measuring_program(const std::string& program, const std::vector<std::string>& arguments);

}  // namespace moesim
