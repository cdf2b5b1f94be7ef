// What a page shows of a run beside its report.
#pragma once

#include "models/config/value.hpp"
#include "sim/write/writer.hpp"

namespace moesim {

/// {timeline (page_timeline), pipeline (page_pipeline), ranks: [{compute_s, exposed_s: {phase: s},
/// optimizer_s, host_s, bubble_s}] whose means over devices are the report's breakdown, memory: {spans,
/// ranks: [{low, high}]}: of each span of the step the least and the most activations in kilobytes, each less
/// the one before it, links: {spans, rows: [{class, name, use}]}: shares in 255ths, experts: [{layer,
/// tokens}]}. `low`, `high`, `use` and `tokens` are Packed. What does not apply is absent.
Value page_run(const ToldRun& run);

}  // namespace moesim
