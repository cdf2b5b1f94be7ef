#include "sim/report/drift.hpp"

#include <utility>

namespace moesim {

DriftReport drift_report(std::vector<DriftStep> steps, std::int64_t tokens, std::int64_t simulated) {
  DriftReport report;
  const auto count = static_cast<double>(steps.size());
  double rank_loads = 0;
  for (const DriftStep& step : steps) {
    report.rebalances += step.bytes > 0 ? 1 : 0;
    report.bytes += step.bytes;
    report.time += step.time;
    report.moving += step.moving;
    report.waiting += step.waiting;
    rank_loads += step.rank_load_max_over_mean;
  }
  report.tokens = tokens;
  report.simulated = simulated;
  report.mean_rank_load = rank_loads / count;
  report.tokens_per_second = static_cast<double>(tokens) * count / to_seconds(report.time);
  report.steps = std::move(steps);
  return report;
}

}  // namespace moesim
