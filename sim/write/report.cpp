#include "sim/write/report.hpp"

#include "models/base/text.hpp"
#include "models/config/values.hpp"
#include "sim/report/fact.hpp"

namespace moesim {
namespace {

/// Sets the value at a dotted path, adding objects on the way.
void set_at(Value& document, std::string_view path, Value value) {
  const std::size_t dot = path.find('.');
  if (dot == std::string_view::npos) return document.set(path, std::move(value));
  const std::string_view part = path.substr(0, dot);
  if (document.find(part) == nullptr) document.set(part, empty_object());
  set_at(*document.find(part), path.substr(dot + 1), std::move(value));
}

/// One row: what a spreadsheet wants first.
Table report_row(const Report& report) {
  Table table{.columns = {"about", "fingerprint"}, .rows = {{{report.about, true}, {report.fingerprint}}}};
  const auto add = [&](std::span<const std::string_view> names) {
    for (const std::string_view name : names) {
      table.columns.emplace_back(name);
      table.rows.front().push_back(cell_of(read(fact(name), report)));
    }
  };
  add(run_columns());
  add(later_columns());
  table.columns.emplace_back("plan");
  table.rows.front().push_back({report.plan, true});
  for (const std::span<const std::string_view> group : last_columns()) add(group);
  drop_empty_groups(table, last_columns());
  return table;
}

}  // namespace

Value report_value(const Report& report, const Value& scenario) {
  Value document = empty_object();
  document.set("schema", value_of("moesim.report/1"));
  document.set("about", value_of(report.about));
  document.set("plan", value_of(report.plan));
  document.set("fingerprint", value_of(report.fingerprint));
  if (scenario.kind != Value::Kind::null) document.set("scenario", scenario);
  for (const Fact& fact : facts()) {
    // A lone communication has no pipeline: its bubbles are 0 in tables, and here the part is left out.
    const bool has_part = !fact.path.starts_with("pipeline.") || !report.pipeline_ranks.empty();
    Value value = has_part ? read(fact, report) : Value{};
    if (value.kind != Value::Kind::null) set_at(document, fact.path, std::move(value));
  }
  return document;
}

Told tell(const ToldRun& run, std::function<Value()> scenario) {
  const Report& report = run.report;
  return {.text = [&report] { return report_text(report); },
          .json = [&report, scenario = std::move(scenario)] { return report_value(report, scenario()); },
          .table = [&report] { return report_row(report); },
          .run = [run] { return run; }};
}

}  // namespace moesim
