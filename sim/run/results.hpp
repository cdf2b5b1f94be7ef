// What a sweep has found, in one file that outlives it.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>

namespace moesim {

/// One point: its scenario as JSON, and its report as JSON or its error.
struct PointResult {
  std::string scenario, report, error;
};

/// An SQLite file (sqlite.org) of results; each is on the disk when `keep` returns. One writer at a time.
class Results {
 public:
  struct File;
  /// Opens or makes the file; ":memory:" keeps nothing. Throws InputError where it is damaged, of another
  /// version of moesim, or of another sweep: another scenario, or other keys (JSON of both). Throws RunError
  /// where it cannot be used otherwise.
  Results(const std::string& path, std::string_view scenario, std::string_view keys);
  ~Results();
  Results(const Results&) = delete;
  Results& operator=(const Results&) = delete;

  /// The finished points by their choice of values (JSON).
  std::map<std::string, PointResult> load() const;
  /// Adds a point. Throws RunError, as on a full disk; what was kept before stays.
  void keep(const std::string& choice, const PointResult& result);

 private:
  std::unique_ptr<File> file_;
};

}  // namespace moesim
