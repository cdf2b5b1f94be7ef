// The command line of moesim-measure.
#pragma once

#include <stdexcept>
#include <string>

namespace measure {

/// What the command line asks for.
struct Options {
  std::string out = "-", only;
  int device = 0;
  bool all = false, quick = false, check = false, test = false, mpi = false;
  bool child = false;  ///< of moesim calibrate, which says itself what is missing
};

struct WrongInput : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// This machine lacks what was asked for.
struct Missing : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// Throws WrongInput; prints the usage and ends where that is asked for.
Options parse(int count, char** words);

/// Whether a section of this name is asked for.
inline bool holds(const std::string& text, const std::string& part) {
  return part.empty() || text.find(part) != std::string::npos;
}

}  // namespace measure
