// The order of passes and when each ran, as `moesim schedule` lists it.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "sim/report/cells.hpp"
#include "sim/report/report.hpp"
#include "sim/write/writer.hpp"

namespace moesim {

/// JSON, schema "moesim.schedule/1": about, plan, fingerprint, scenario (what `scenario` makes),
/// passes_end_s, what facts say of bubbles and memory, slots: [{what a row has}]. Table: a row for each slot.
/// What does not apply is absent, an empty cell in a table. `text` is the diagram; `rows` and `report`
/// outlive what is told.
Told tell(const std::vector<OrderRow>& rows, const Report& report, std::function<Value()> scenario,
          std::function<std::string()> text);

}  // namespace moesim
