// The steps of a run over which loads drift, as comma-separated values: a line for each step.
#include "models/base/error.hpp"
#include "models/config/values.hpp"
#include "sim/report/fact_rows.hpp"
#include "sim/write/writer.hpp"

namespace moesim {
namespace {

Table table_of(const Value& steps) {
  Table table{.columns = {"step"}};
  for (const Value& step : steps.items) {
    std::vector<TableCell>& row = table.rows.emplace_back();
    row.push_back(cell_of(value_of(static_cast<std::int64_t>(table.rows.size()) - 1)));
    for (const auto& [name, value] : step.members) {
      if (table.rows.size() == 1) table.columns.push_back(name);
      row.push_back(cell_of(value));
    }
  }
  return table;
}

class Steps final : public Writer {
 public:
  Steps() : Writer(Form::run) {}
  std::string write(const Told& told) const override {
    const Value steps = rows_of_drift_steps(told.run().report);
    if (steps.items.empty())
      throw InputError("--steps", "needs a run of many steps, as the part routing.drift says it");
    return moesim::write({.table = [&] { return table_of(steps); }}, "csv");
  }
};

}  // namespace

extern constexpr Entry<Writer> steps_writer{
    "steps", "CSV with a line for each step of a run with routing.drift",
    [](Reader&) -> std::unique_ptr<const Writer> { return std::make_unique<Steps>(); }};

}  // namespace moesim
