#include "models/config/values.hpp"
#include "sim/write/comparison.hpp"

namespace moesim {
namespace {

void add_facts(const Report& report, Value& row) {
  row.set("step_time_s", value_of(to_seconds(report.step_time)));
  if (report.tokens > 0) {
    row.set("tokens_per_s_per_device", value_of(report.tokens_per_second_per_device()));
    row.set("mfu", value_of(report.mfu()));
  }
  row.set("bubble_fraction", value_of(report.bubble_fraction));
  row.set("bubble_mean", value_of(report.bubble_mean));
  row.set("bubble_most", value_of(report.bubble_most));
  row.set("exposed_communication_s", value_of(to_seconds(report.breakdown.exposed_communication)));
  if (!report.memory.empty()) {
    row.set("peak_memory", value_of(report.memory_peak().count));
    row.set("fits", value_of(report.fits()));
  }
  row.set("fingerprint", value_of(report.fingerprint));
}

}  // namespace

std::string write_json(const Comparison& comparison) {
  Value document = empty_object();
  document.set("schema", value_of("moesim.compare/1"));
  document.set("about", value_of(comparison.about));
  if (!comparison.scenario.empty())
    document.set("scenario", parse_json(comparison.scenario, "scenario of a comparison"));
  Value over = empty_list();
  for (const std::string& key : comparison.keys) over.items.push_back(value_of(key));
  document.set("over", std::move(over));
  Value rows = empty_list();
  for (std::size_t i = 0; i < comparison.runs.size(); ++i) {
    const ComparedRun& run = comparison.runs[i];
    Value row = empty_object();
    Value values = empty_object();
    for (std::size_t k = 0; k < run.values.size(); ++k) values.set(comparison.keys[k], run.values[k]);
    row.set("values", std::move(values));
    if (run.report) {
      row.set("plan", value_of(run.report->plan));
      row.set("best", value_of(comparison.best == i));
      row.set("relative", value_of(run.relative));
      add_facts(*run.report, row);
    } else {
      row.set("error", value_of(run.error));
    }
    rows.items.push_back(std::move(row));
  }
  document.set("runs", std::move(rows));
  return write_json(document);
}

}  // namespace moesim
