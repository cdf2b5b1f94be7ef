// Published figures beside simulated ones, and what `moesim validate` writes of them.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "sim/write/writer.hpp"

namespace moesim {

/// One published figure and what the simulation says instead.
struct JudgedCase {
  std::string group, name, figure, unit, source;
  double published = 0;
  double tolerance = 0;      ///< of `deviation()`
  bool is_absolute = false;  ///< the deviation is a difference, not a share of what is published
  std::string known;         ///< why it is known to be out of tolerance; empty: it is not
  double simulated = 0;      ///< where `error` is empty
  std::string error;         ///< of a run that failed
  /// Standard deviation of the logarithm of measured over simulated that was to be expected of the case
  /// without having seen it; nothing where nothing is known.
  std::optional<double> expected{};

  /// Simulated less published; over published unless `is_absolute`.
  double deviation() const;
  bool is_within() const;
  /// Logarithm of measured over simulated, of a relative case.
  double off() const;
  /// Out of its tolerance, or failed, and nothing says that this is known.
  bool is_surprise() const { return !is_within() && known.empty(); }
};

/// How many measurements lie inside their error bars.
struct Coverage {
  std::string of;
  std::size_t inside = 0, all = 0;
  /// One that is `off` (as a logarithm), of which so much was to be expected.
  void add(double off, double deviation);
};

/// A group of cases in a few numbers. Errors are those of relative cases.
struct GroupSummary {
  std::string name;
  std::size_t cases = 0, within = 0;
  std::size_t relative = 0;                     ///< cases that the next three are over; 0: there are none
  double median = 0, ninetieth = 0, worst = 0;  ///< of the absolute errors
  double mean = 0;                              ///< of the signed errors: fast is below zero for times
};

/// All cases of some groups, in their order.
struct Validation {
  std::vector<JudgedCase> cases;
  std::vector<Coverage> calibrations;  ///< of what was measured beside them
};

/// Of the groups that have cases with error bars, and of the calibrations.
std::vector<Coverage> coverage_of(const Validation& validation);

/// One summary a group, in the order of the cases.
std::vector<GroupSummary> summarize_groups(const Validation& validation);

/// Kendall's tau-b of published and simulated figures over the cases of a group that share figure and unit,
/// pooled over figures: 1 where all pairs are in the same order, -1 where none is. Nothing without pairs.
struct RankAgreement {
  double tau = 0;
  std::size_t pairs = 0;
};
RankAgreement rank_agreement(const Validation& validation, const std::string& group);

/// Every form but `run`.
/// Text: a table for each group; cases out of tolerance say what is known of them.
/// JSON, schema "moesim.validate/1": cases: [{group, name, figure, unit, published, simulated, error,
/// tolerance, absolute, within, expected_deviation, source, known}], groups: [{name, cases, within,
/// median, ninetieth, worst, mean, rank_agreement}], coverage: [{of, level, inside, all}]. Table: a row for
/// each case, with the keys of the JSON.
Told tell(const Validation& validation);

}  // namespace moesim
