// What a sweep has found, in one file that outlives it.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace moesim {

/// One point: its scenario as JSON, and its report as JSON or its error.
struct PointResult {
  std::string scenario, report, error;
  bool is_known() const { return !report.empty() || !error.empty(); }
};

/// An SQLite file (sqlite.org) of results; they are on the disk when `keep` returns. Who has it open is its
/// only writer; others may read it meanwhile.
class Results {
 public:
  struct File;
  /// Opens or makes the file; ":memory:" keeps nothing. Throws InputError where it is damaged, of another
  /// version of moesim, or of another sweep: another scenario, or other keys (JSON of both). Throws RunError
  /// where it cannot be used otherwise, as while another sweep writes to it.
  Results(const std::string& path, std::string_view scenario, std::string_view keys);
  ~Results();
  Results(const Results&) = delete;
  Results& operator=(const Results&) = delete;

  /// Whether each finished point failed, by its choice of values (JSON).
  std::map<std::string, bool> known() const;
  /// A finished point; empty where there is none of that choice.
  PointResult find(const std::string& choice) const;
  /// Adds points with their choices, all or none. Throws RunError, as on a full disk; what was kept before
  /// stays.
  void keep(const std::vector<std::pair<std::string, const PointResult*>>& points);

 private:
  std::unique_ptr<File> file_;
};

}  // namespace moesim
