// Runs the program on several ranks of this machine.
#pragma once

#include <string>

#include "tests/support/program.hpp"

namespace moesim::testing {

/// Whether this build and this machine can; says why not once.
bool has_ranks();

/// The shell words that start the program on that many ranks; `before` runs in each of them first.
std::string on_ranks(int count, const std::string& before = {});

}  // namespace moesim::testing
