// A number in the report of a run, by its name: a column of a sweep's table, or what a picture shows.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "models/config/value.hpp"
#include "sim/report/fact.hpp"

namespace moesim {

/// A key of the JSON report, and how people write it.
struct Measure {
  std::string name;               ///< as a column has it
  std::vector<std::string> path;  ///< down the report; a number picks an item of a list
  std::string label;              ///< "bubble"
  Unit unit = Unit::count;
  bool more_is_better = false;

  /// The value in a report (JSON); null where it does not apply.
  const Value* in(const Value& report) const;
  /// The same where it is a number.
  std::optional<double> number_in(const Value& report) const;
};

/// A fact as it stands in the JSON report.
Measure measure_of(const Fact& fact);

/// The measure of that name: a fact that runs are compared by, or any key of the report by its dotted path,
/// as `communication.dispatch.busy_s`. Throws InputError, naming `where`, for what no report can have.
Measure parse_measure(const std::string& name, const std::string& where);

}  // namespace moesim
