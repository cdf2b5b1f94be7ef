// Several runs side by side, and what `moesim compare` writes of them.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "models/config/value.hpp"
#include "sim/report/report.hpp"
#include "sim/write/writer.hpp"

namespace moesim {

/// One choice of values: what it came to, or why it did not.
struct ComparedRun {
  std::vector<Value> values;  ///< one for each key of the comparison
  std::optional<Report> report;
  std::string error;    ///< where there is no report
  double relative = 0;  ///< its time over the best one's; 1 for the best
};

struct Fact;

/// Facts by their names, which commas separate. Throws InputError at `where` for what is none.
std::vector<const Fact*> facts_named(const std::string& names, const std::string& where);

/// Runs of one scenario that differ in some keys.
struct Comparison {
  std::string about, title;  ///< title: `about`, and what the command line changed for all
  std::string scenario{};    ///< the whole document that the runs vary, as JSON
  std::vector<std::string> keys;
  std::vector<ComparedRun> runs;       ///< the last key's values change fastest
  std::optional<std::size_t> best;     ///< nothing where every run failed
  std::vector<const Fact*> columns{};  ///< asked for in place of those that are usual
  bool is_by_token = false;  ///< times are compared per token and device, as runs differ in tokens or devices
};

/// Whether a run fits in memory; what has none cannot be short of it.
bool fits(const Report& report);

/// Sets `best`, `relative` and `is_by_token`. Runs of many steps are compared by the mean one. The best run
/// is the fastest of those whose memory fits, or of all where none fits; scenarios that give durations of
/// passes have no memory that could be short.
void rank_runs(Comparison& comparison);

/// Every form but `run`; with `columns` of facts those alone, in their order. What does not apply is absent.
/// Text: one table under what all runs have in common; the best run is marked, a failed one says why. Where
/// software or devices vary and kernels take longer in one run than in another, a table of their times by
/// class follows.
/// JSON, schema "moesim.compare/1": about, scenario, over (the keys), runs: [{values: {KEY: VALUE}, plan,
/// best, relative, the facts that are compared, fingerprint} or {values, error}]. Table: the keys, the
/// columns that are compared, relative, error, those that came later, plan, those of kernels.
Told tell(const Comparison& comparison);

}  // namespace moesim
