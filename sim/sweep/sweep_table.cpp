// A sweep's points as a table and as lines of JSON.
#include "models/config/values.hpp"
#include "sim/sweep/measure.hpp"
#include "sim/sweep/sweep.hpp"

namespace moesim {
namespace {

/// As the report has it, to the digit.
TableCell copied(const Value* value) {
  if (value == nullptr) return {};
  return {value->kind == Value::Kind::text ? value->text : one_line(*value)};
}

std::vector<TableCell> row_of(const std::vector<Value>& values, const PointResult& result) {
  std::vector<TableCell> row;
  for (const Value& value : values) row.push_back(copied(&value));
  const Value report = result.report.empty() ? Value{} : parse_json(result.report, "report of a point");
  const auto add = [&](std::span<const std::string_view> names) {
    for (const std::string_view name : names) row.push_back(copied(measure_of(fact(name)).in(report)));
  };
  add(compared_columns());
  row.push_back({result.error});
  add(later_columns());
  row.push_back(copied(report.find("plan")));
  for (const std::span<const std::string_view> group : last_columns()) add(group);
  return row;
}

Table table_of(const SweptPoints& points) {
  const SweepPlan& plan = points.plan();
  Table table{.columns = plan.keys};
  const auto add = [&](std::span<const std::string_view> names) {
    table.columns.insert(table.columns.end(), names.begin(), names.end());
  };
  add(compared_columns());
  table.columns.emplace_back("error");
  add(later_columns());
  table.columns.emplace_back("plan");
  for (const std::span<const std::string_view> group : last_columns()) add(group);
  for (std::size_t point = 0; point < plan.points.size(); ++point) {
    const PointResult result = points.of(point);
    if (result.is_known()) table.rows.push_back(row_of(plan.points[point], result));
  }
  drop_empty_groups(table, last_columns());
  return table;
}

Value line_of(const SweptPoints& points, std::size_t point, const PointResult& result) {
  const SweepPlan& plan = points.plan();
  Value values = empty_object();
  for (std::size_t i = 0; i < plan.keys.size(); ++i) values.set(plan.keys[i], plan.points[point][i]);
  Value line = empty_object();
  line.set("values", std::move(values));
  line.set("scenario", parse_json(result.scenario, "scenario of a point"));
  if (result.error.empty()) {
    line.set("report", parse_json(result.report, "report of a point"));
  } else {
    line.set("error", value_of(result.error));
  }
  return line;
}

}  // namespace

Told tell(const SweptPoints& points) {
  return {.json_lines =
              [&points](const auto& take) {
                for (std::size_t point = 0; point < points.plan().points.size(); ++point) {
                  const PointResult result = points.of(point);
                  if (result.is_known()) take(line_of(points, point, result));
                }
              },
          .table = [&points] { return table_of(points); },
          .scenario = [&points] { return parse_json(points.plan().base, "scenario of a sweep"); }};
}

}  // namespace moesim
