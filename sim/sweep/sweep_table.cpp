// A sweep's points as a table and as lines of JSON.
#include <fmt/format.h>

#include "models/config/values.hpp"
#include "sim/sweep/measure.hpp"
#include "sim/sweep/sweep.hpp"
#include "sim/write/csv_cell.hpp"

namespace moesim {
namespace {

std::string cell(const Value& value) {
  return csv_cell(value.kind == Value::Kind::text ? value.text : one_line(value));
}

}  // namespace

std::string write_csv(const SweptPoints& points) {
  const SweepPlan& plan = points.plan();
  std::string rows;
  for (const std::string& key : plan.keys) rows += csv_cell(key) + ",";
  for (const Measure& column : table_measures()) rows += column.name + ",";
  rows += "error,bubble_mean,plan\n";
  for (std::size_t point = 0; point < plan.points.size(); ++point) {
    const PointResult result = points.of(point);
    if (!result.is_known()) continue;
    for (const Value& value : plan.points[point]) rows += cell(value) + ",";
    const Value report = result.report.empty() ? Value{} : parse_json(result.report, "report of a point");
    const auto figure = [&](const Measure& measure) {
      const Value* found = measure.in(report);
      return found == nullptr ? std::string() : cell(*found);
    };
    for (const Measure& column : table_measures()) rows += figure(column) + ",";
    const Value* line = report.find("plan");
    rows += fmt::format("{},{},{}\n", csv_cell(result.error), figure(parse_measure("bubble_mean", {})),
                        line == nullptr ? "" : csv_cell(line->text));
  }
  return rows;
}

std::string write_json_lines(const SweptPoints& points) {
  const SweepPlan& plan = points.plan();
  std::string lines;
  for (std::size_t point = 0; point < plan.points.size(); ++point) {
    const PointResult result = points.of(point);
    if (!result.is_known()) continue;
    Value line = empty_object();
    Value values = empty_object();
    for (std::size_t i = 0; i < plan.keys.size(); ++i) values.set(plan.keys[i], plan.points[point][i]);
    line.set("values", std::move(values));
    line.set("scenario", parse_json(result.scenario, "scenario of a point"));
    if (result.error.empty()) {
      line.set("report", parse_json(result.report, "report of a point"));
    } else {
      line.set("error", value_of(result.error));
    }
    lines += one_line(line) + "\n";
  }
  return lines;
}

}  // namespace moesim
