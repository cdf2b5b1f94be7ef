// A run's report, told in every form.
#pragma once

#include "sim/report/report.hpp"
#include "sim/write/writer.hpp"

namespace moesim {

/// The report as JSON: the keys of docs/interface.md, in their order. With the whole scenario where it does
/// not stand elsewhere.
Value report_value(const Report& report, const Value& scenario = {});

/// For people: where the step's time goes, top down.
std::string report_text(const Report& report);

/// Every form of a run. `scenario` makes the document for JSON.
Told tell(const ToldRun& run, std::function<Value()> scenario);

}  // namespace moesim
