// A process beside a rank that runs the rank's points. It is forked before MPI starts, so no process that has
// MPI ever forks: memory that a network card reads and writes must not be shared with a child.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>

#include "sim/sweep/sweep_plan.hpp"
#include "sim/sweep/workers.hpp"

namespace moesim {

/// Hears the text of the scenario, answers with what it makes of it, and then takes points.
class Foreman {
 public:
  /// Forks. The request's own path is not read.
  explicit Foreman(const SweepRequest& request);
  Foreman(const Foreman&) = delete;
  Foreman& operator=(const Foreman&) = delete;
  ~Foreman();  ///< ends it and its workers

  int stream() const { return stream_; }
  /// Throws RunError where it has ended.
  void tell(const std::string& text);
  /// What it has said; waits that many milliseconds for something to come, or until a signal. Throws RunError
  /// where it has ended.
  std::optional<std::string> hear(int milliseconds);

 private:
  pid_t process_ = 0;
  int stream_ = -1;
  std::string heard_;
};

/// A foreman's first answer: what it would run, or why it cannot.
struct Readiness {
  std::string basis;  ///< basis_of its plan; empty where there is an error
  std::string error;  ///< with the name of the machine
};
std::string print(const Readiness& readiness);
Readiness parse_readiness(std::string text);

std::string print(const FinishedPoint& finished);
FinishedPoint parse_finished(std::string text);

}  // namespace moesim
