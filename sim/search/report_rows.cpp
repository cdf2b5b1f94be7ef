// The result of a search as JSON and as a table.
#include <fmt/format.h>

#include <algorithm>

#include "models/config/values.hpp"
#include "sim/report/fact.hpp"
#include "sim/search/choices.hpp"
#include "sim/search/report.hpp"

namespace moesim {
namespace {

constexpr std::string_view keys_of_plans[] = {
    "step_time_s", "mfu",       "bubble_fraction",         "bubble_mean", "bubble_most", "peak_memory",
    "fits",        "compute_s", "exposed_communication_s", "bubble_s",    "optimizer_s"};
constexpr std::string_view columns_of_plans[] = {"step_time_s", "mfu", "bubble_fraction", "peak_memory",
                                                 "fits"};

/// A fact of a plan that ran. Whether it fits is by the search's limit, not by what a device has.
Value told(const SearchResult& result, const FoundPlan& plan, std::string_view name) {
  if (name == "fits") return value_of(plan.report->memory_peak() <= result.memory_limit);
  return read(fact(name), *plan.report);
}

Value plan_of(const SearchResult& result, const FoundPlan& plan) {
  Value row = empty_object();
  row.set("plan", value_of(print(plan)));
  for (const SizeAxis* axis : told_sizes()) row.set(axis->key, value_of(size_in(plan, *axis)));
  for (const PlanKey& key : plan_keys()) {
    if (Value value = key.read(plan); value.kind != Value::Kind::null) row.set(key.key, std::move(value));
  }
  if (plan.estimated_seconds > 0) {  // else there is no estimate
    row.set("estimated_step_time_s", value_of(plan.estimated_seconds));
    row.set("estimated_memory", value_of(plan.estimated_memory));
  }
  if (!plan.report) {
    row.set("error", value_of(plan.error));
    return row;
  }
  for (const std::string_view name : keys_of_plans) row.set(name, told(result, plan, name));
  row.set("fingerprint", value_of(plan.report->fingerprint));
  return row;
}

/// The scenario's own plan: `place` among the plans, from 1, where it is one of them.
Value own_of(const SearchResult& result) {
  Value row = plan_of(result, result.own.plan);
  if (result.own.place > 0) row.set("place", value_of(result.own.place));
  row.set("outside", list_of(result.own.outside));
  return row;
}

/// A cell for each of these facts; empty ones for a plan that failed.
void add_cells(const SearchResult& result, const FoundPlan& plan, std::span<const std::string_view> names,
               std::vector<TableCell>& row) {
  for (const std::string_view name : names)
    row.push_back(plan.report ? cell_of(told(result, plan, name)) : TableCell{});
}

/// What failed always stands in quotes.
TableCell error_of(const FoundPlan& plan) {
  std::string error = plan.error;
  std::replace(error.begin(), error.end(), '"', '\'');
  return plan.report ? TableCell{} : TableCell{std::move(error), true};
}

std::vector<TableCell> row_of(const SearchResult& result, const FoundPlan& plan, bool is_own) {
  std::vector<TableCell> row;
  for (const SizeAxis* axis : told_sizes()) row.push_back(cell_of(value_of(size_in(plan, *axis))));
  for (const PlanKey& key : plan_keys()) {
    if (key.is_column) row.push_back(cell_of(key.read(plan)));
  }
  const bool is_estimated = plan.estimated_seconds > 0;
  row.push_back(is_estimated ? cell_of(value_of(plan.estimated_seconds)) : TableCell{});
  row.push_back(is_estimated ? TableCell{fmt::format("{:.0f}", plan.estimated_memory)} : TableCell{});
  add_cells(result, plan, columns_of_plans, row);
  row.push_back(error_of(plan));
  add_cells(result, plan, later_columns(), row);
  row.push_back({print(plan)});
  row.push_back(cell_of(value_of(is_own)));
  return row;
}

}  // namespace

Value search_value(const SearchResult& result) {
  Value root = empty_object();
  root.set("schema", value_of("moesim.search/1"));
  root.set("about", value_of(result.about));
  root.set("on", value_of(result.on));
  if (!result.scenario.empty()) root.set("scenario", parse_json(result.scenario, "scenario of a search"));
  root.set("tried", list_of(result.tried));
  root.set("candidates", value_of(result.candidates));
  Value cut = empty_object();
  for (std::size_t rule = 0; rule < cut_rule_count; ++rule)
    cut.set(cut_rule_names[rule], value_of(result.cut[rule]));
  root.set("cut", cut);
  root.set("ranked", value_of(result.ranked));
  root.set("memory_limit", value_of(result.memory_limit.count));
  Value agreement = empty_object();
  agreement.set("plans", value_of(result.agreement.pairs));
  agreement.set("median", value_of(result.agreement.median));
  agreement.set("worst", value_of(result.agreement.worst));
  agreement.set("kendall_tau", value_of(result.agreement.kendall_tau));
  agreement.set("winner_rank", value_of(result.agreement.winner_rank));
  root.set("estimate_against_simulation", agreement);
  Value plans = empty_list();
  for (const FoundPlan& plan : result.simulated) plans.items.push_back(plan_of(result, plan));
  root.set("plans", plans);
  Value front = empty_list();
  for (const std::size_t i : result.front) front.items.push_back(value_of(i));
  root.set("front", front);
  root.set("same", value_of(result.same));
  root.set("own", own_of(result));
  return root;
}

Table search_table(const SearchResult& result) {
  Table table;
  for (const SizeAxis* axis : told_sizes()) table.columns.emplace_back(axis->key);
  for (const PlanKey& key : plan_keys()) {
    if (key.is_column) table.columns.emplace_back(key.key);
  }
  table.columns.insert(table.columns.end(), {"estimated_step_time_s", "estimated_memory"});
  table.columns.insert(table.columns.end(), std::begin(columns_of_plans), std::end(columns_of_plans));
  table.columns.emplace_back("error");
  table.columns.insert(table.columns.end(), later_columns().begin(), later_columns().end());
  table.columns.insert(table.columns.end(), {"plan", "own"});
  for (std::size_t i = 0; i < result.simulated.size(); ++i)
    table.rows.push_back(row_of(result, result.simulated[i], i + 1 == result.own.place));
  if (result.own.place == 0) table.rows.push_back(row_of(result, result.own.plan, true));
  return table;
}

}  // namespace moesim
