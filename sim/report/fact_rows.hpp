// What of a report is no single number, as JSON: rows of ranks, steps, phases and links.
#pragma once

#include "models/config/value.hpp"
#include "sim/report/report.hpp"

namespace moesim {

// Each is null where the report has no such part.
Value rows_of_stages(const Report& report);
Value rows_of_steps(const Report& report);
Value rows_of_communication(const Report& report);  ///< by phase, and "per_link_class"
Value rows_of_gradient_parts(const Report& report);
Value rows_of_busiest_experts(const Report& report);
Value rows_of_memory(const Report& report);
Value rows_of_repeat(const Report& report);
Value rows_of_critical_path(const Report& report);
Value rows_of_error_sources(const Report& report);

}  // namespace moesim
