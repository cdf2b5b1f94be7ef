// The three ways a run can end badly, and the check for our own mistakes.
#pragma once

#include <stdexcept>
#include <string>

namespace moesim {

/// The input is wrong (exit code 2). The message is one line: where, what was found, what was expected.
class InputError : public std::runtime_error {
 public:
  /// `where` is "file: key.path", empty where only the caller knows it; `problem` names the value, what was
  /// expected and what is known.
  InputError(const std::string& where, std::string problem, std::string hint = {})
      : std::runtime_error(where.empty() ? problem : where + ": " + problem),
        problem_(std::move(problem)),
        hint_(std::move(hint)) {}
  /// The message without `where`.
  const std::string& problem() const { return problem_; }
  /// A second line that helps to mend it; may be empty.
  const std::string& hint() const { return hint_; }

 private:
  std::string problem_, hint_;
};

/// The run itself failed (exit code 1), as a graph whose tasks wait for each other.
class RunError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// This machine lacks something (exit code 3), as a GPU.
class MissingError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Our own mistake, checked in every build. Throws std::logic_error naming what broke.
inline void ensure(bool holds, const char* what) {
  if (!holds) throw std::logic_error(std::string("internal error: ") + what);
}

}  // namespace moesim
