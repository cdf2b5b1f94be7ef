// Runs the program as a user does: from the project's folder, with what it prints and how it ends at hand.
#pragma once

#include <string>
#include <vector>

#include "models/config/value.hpp"

namespace moesim::testing {

/// What a command came to.
struct Outcome {
  int code = 0;
  std::string out, err;
};

/// Runs `moesim` with these arguments in the project's folder; `input` is its standard input.
Outcome run_moesim(const std::vector<std::string>& arguments, const std::string& input = {});

/// Runs a line of shell there, in which `moesim` is the program under test.
Outcome run_shell(const std::string& line, const std::string& input = {});

/// A file of the project, whole; `path` is relative to its folder. Empty where there is none.
std::string project_file(const std::string& path);

/// Paths of the files below a folder of the project that end so, relative to the project, in order.
std::vector<std::string> project_files(const std::string& folder, const std::string& ending);

/// The lines of a text, without their ends.
std::vector<std::string> lines_of(const std::string& text);

/// The first line in which two texts differ, in words; empty where they are equal.
std::string first_difference(const std::string& expected, const std::string& found);

/// The report of a scenario of the project as JSON. The run must end well.
Value json_report(const std::string& scenario, const std::vector<std::string>& options = {});

/// A member of a JSON object down a path of names; fails where there is none.
const Value& member(const Value& object, std::initializer_list<std::string_view> path);

}  // namespace moesim::testing
