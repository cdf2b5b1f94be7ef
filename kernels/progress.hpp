// How far a measurement is, on standard error.
#pragma once

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <ctime>
#include <string>

namespace measure {

/// How far it is, on a terminal; one line a section elsewhere.
class Progress {
 public:
  explicit Progress(std::size_t total) : total_(total), start_(std::time(nullptr)) {}
  void section(const std::string& name) {
    if (!terminal_)
      std::fprintf(stderr, "%4.0f s  %s\n", std::difftime(std::time(nullptr), start_), name.c_str());
    name_ = name;
  }
  void step() {
    ++done_;
    if (!terminal_) return;
    const double elapsed = std::difftime(std::time(nullptr), start_);
    const double left =
        elapsed / static_cast<double>(done_) * static_cast<double>(total_ - std::min(done_, total_));
    std::fprintf(stderr, "\r\033[K%s: %zu of %zu, about %.0f s left", name_.c_str(), done_, total_, left);
  }
  void finish() {
    std::fprintf(stderr, terminal_ ? "\r\033[K" : "%4.0f s  done\n",
                 std::difftime(std::time(nullptr), start_));
  }

 private:
  std::size_t total_, done_ = 0;
  std::time_t start_;
  std::string name_;
  bool terminal_ = isatty(STDERR_FILENO) != 0;
};

}  // namespace measure
