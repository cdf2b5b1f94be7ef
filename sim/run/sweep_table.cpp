// A sweep's points as a table and as lines of JSON.
#include <fmt/format.h>

#include <limits>

#include "sim/run/measure.hpp"
#include "sim/run/sweep.hpp"

namespace moesim {
namespace {

std::string one_line(const Value& value) { return print(value, std::numeric_limits<std::size_t>::max()); }

std::string quoted(const std::string& text) {
  if (text.find_first_of(",\"\n") == std::string::npos) return text;
  std::string result = "\"";
  for (const char letter : text) result += letter == '"' ? std::string("\"\"") : std::string(1, letter);
  return result + '"';
}

std::string cell(const Value& value) {
  return quoted(value.kind == Value::Kind::text ? value.text : one_line(value));
}

}  // namespace

std::string write_csv(const SweptPoints& points) {
  const SweepPlan& plan = points.plan();
  std::string rows;
  for (const std::string& key : plan.keys) rows += quoted(key) + ",";
  for (const Measure& column : table_measures()) rows += column.name + ",";
  rows += "error\n";
  for (std::size_t point = 0; point < plan.points.size(); ++point) {
    const PointResult result = points.of(point);
    if (!result.is_known()) continue;
    for (const Value& value : plan.points[point]) rows += cell(value) + ",";
    const Value report = result.report.empty() ? Value{} : parse_json(result.report, "report of a point");
    for (const Measure& column : table_measures()) {
      const Value* found = column.in(report);
      rows += (found == nullptr ? "" : cell(*found)) + ",";
    }
    rows += quoted(result.error) + "\n";
  }
  return rows;
}

std::string write_json_lines(const SweptPoints& points) {
  const SweepPlan& plan = points.plan();
  std::string lines;
  for (std::size_t point = 0; point < plan.points.size(); ++point) {
    const PointResult result = points.of(point);
    if (!result.is_known()) continue;
    Value line{.kind = Value::Kind::object};
    Value values{.kind = Value::Kind::object};
    for (std::size_t i = 0; i < plan.keys.size(); ++i) values.set(plan.keys[i], plan.points[point][i]);
    line.set("values", std::move(values));
    line.set("scenario", parse_json(result.scenario, "scenario of a point"));
    if (result.error.empty()) {
      line.set("report", parse_json(result.report, "report of a point"));
    } else {
      line.set("error", Value{.kind = Value::Kind::text, .text = result.error});
    }
    lines += one_line(line) + "\n";
  }
  return lines;
}

}  // namespace moesim
