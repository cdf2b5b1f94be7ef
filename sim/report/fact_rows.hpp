// What of a report is no single number, as JSON: rows of ranks, steps, phases and links.
#pragma once

#include <vector>

#include "models/config/value.hpp"
#include "sim/report/report.hpp"

namespace moesim {

/// A number of each step of a run of many.
std::vector<double> over_steps(const DriftReport& run, double (*of)(const DriftReport&, const DriftStep&));
double seconds_of(const DriftReport& run, const DriftStep& step);
double tokens_per_second_of(const DriftReport& run, const DriftStep& step);
double expert_load_of(const DriftReport& run, const DriftStep& step);
double rank_load_of(const DriftReport& run, const DriftStep& step);

// Each is null where the report has no such part.
Value rows_of_stages(const Report& report);
Value rows_of_steps(const Report& report);
Value rows_of_communication(const Report& report);  ///< by phase, and "per_link_class"
Value rows_of_gradient_parts(const Report& report);
Value rows_of_busiest_experts(const Report& report);
Value rows_of_memory(const Report& report);
Value rows_of_repeat(const Report& report);
Value rows_of_drift(const Report& report);  ///< percentiles over steps
Value rows_of_drift_steps(const Report& report);
Value rows_of_critical_path(const Report& report);
Value rows_of_error_sources(const Report& report);

}  // namespace moesim
