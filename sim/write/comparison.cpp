#include "sim/write/comparison.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "models/base/error.hpp"
#include "models/base/text.hpp"
#include "models/config/reader.hpp"
#include "models/config/values.hpp"
#include "sim/report/fact.hpp"
#include "sim/report/plan.hpp"
#include "sim/write/columns.hpp"

namespace moesim {
namespace {

std::string word(const Value& value) {
  return value.kind == Value::Kind::text ? value.text : print(value, 1000);
}

/// A row of cells; those of one column have one width.
using Row = std::vector<std::string>;

/// Facts of the table for people, in its order: those behind the relative time, and those that stand where
/// some run has them.
constexpr std::string_view always_shown[] = {"bubble_mean", "exposed_communication_s"};
constexpr std::string_view shown_where_known[] = {"run_tokens_per_s",
                                                  "run_rank_load_max_over_mean",
                                                  "mfu",
                                                  "peak_memory",
                                                  "fits",
                                                  "joules_per_token",
                                                  "cost"};

/// Facts that the table shows.
std::vector<const Fact*> columns_of(const Comparison& comparison) {
  if (!comparison.columns.empty()) return comparison.columns;
  std::vector<const Fact*> columns;
  for (const std::string_view name : always_shown) columns.push_back(&fact(name));
  for (const std::string_view name : shown_where_known) {
    const bool is_known =
        std::any_of(comparison.runs.begin(), comparison.runs.end(), [&](const ComparedRun& run) {
          return run.report && read(fact(name), *run.report).kind != Value::Kind::null;
        });
    if (is_known) columns.push_back(&fact(name));
  }
  return columns;
}

Row header(const Comparison& comparison, const std::vector<const Fact*>& columns) {
  Row row = comparison.keys;
  if (comparison.columns.empty())
    row.insert(row.end(), {std::string(fact("step_time_s").headed()), "relative"});
  for (const Fact* column : columns) row.emplace_back(column->headed());
  return row;
}

Row cells(const ComparedRun& run, const std::vector<const Fact*>& columns, bool are_usual) {
  Row row;
  for (const Value& value : run.values) row.push_back(word(value));
  if (!run.report) return row;
  if (are_usual)
    row.insert(row.end(), {print("step_time_s", *run.report), fmt::format("{:.3f}", run.relative)});
  for (const Fact* column : columns) row.push_back(print(*column, read(*column, *run.report)));
  return row;
}

std::string aligned(const Row& row, const std::vector<std::size_t>& widths, std::size_t keys) {
  std::string line;
  for (std::size_t i = 0; i < row.size(); ++i) {
    line += i < keys ? fmt::format("{:<{}}", row[i], widths[i]) : fmt::format("{:>{}}", row[i], widths[i]);
    line += "  ";
  }
  return line;
}

std::string without_end(std::string line) {
  line.erase(line.find_last_not_of(' ') + 1);
  return line + "\n";
}

std::string heading(const Comparison& comparison) {
  std::vector<std::string> plans;
  for (const ComparedRun& run : comparison.runs) {
    if (run.report) plans.push_back(run.report->plan);
  }
  std::string text = comparison.title.empty() ? std::string() : comparison.title + "\n";
  if (const std::string common = common_plan(plans); !common.empty()) text += common + "\n";
  return text.empty() ? text : text + "\n";
}

/// Of each column of rows that have as many cells as the first, or fewer.
std::vector<std::size_t> widths_of(const std::vector<Row>& rows) {
  std::vector<std::size_t> widths(rows.front().size());
  for (const Row& row : rows) {
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  return widths;
}

/// Whether what runs on devices varies, and kernels of some class take longer in one run
/// than in another, by more than 1 % of its step. Of other keys the step's own parts say enough.
bool kernels_differ(const Comparison& comparison) {
  const bool varies = std::any_of(comparison.keys.begin(), comparison.keys.end(), [](const std::string& key) {
    return key.starts_with("software") || key.starts_with("optimizer") || key.starts_with("cost") ||
           key.starts_with("cluster.device");
  });
  const Report* first = nullptr;
  for (const ComparedRun& run : comparison.runs) {
    if (!varies || !run.report) continue;
    if (first == nullptr) first = &*run.report;
    for (std::size_t i = 0; i < kernel_class_count; ++i) {
      const Time more = run.report->kernels[i].time - first->kernels[i].time;
      if (std::max(more, Time{} - more) * 100 > run.report->step_time) return true;
    }
  }
  return false;
}

/// What kernels take by class, a row a run; empty where that is the same for all.
std::string kernels_of(const Comparison& comparison) {
  if (!kernels_differ(comparison)) return {};
  std::vector<Row> rows{comparison.keys};
  for (const std::string_view name : kernel_columns()) rows.front().emplace_back(fact(name).headed());
  for (const ComparedRun& run : comparison.runs) {
    if (!run.report) continue;
    Row& row = rows.emplace_back();
    for (const Value& value : run.values) row.push_back(word(value));
    for (const std::string_view name : kernel_columns()) row.push_back(print(name, *run.report));
  }
  std::string text = "\ntime by class of kernel, mean over devices\n\n";
  const std::vector<std::size_t> widths = widths_of(rows);
  for (const Row& row : rows) text += without_end("  " + aligned(row, widths, comparison.keys.size()));
  return text;
}

std::string text_of(const Comparison& comparison) {
  const std::vector<const Fact*> columns = columns_of(comparison);
  std::vector<Row> rows{header(comparison, columns)};
  for (const ComparedRun& run : comparison.runs)
    rows.push_back(cells(run, columns, comparison.columns.empty()));
  const std::vector<std::size_t> widths = widths_of(rows);
  const std::size_t keys = comparison.keys.size();
  std::string text = heading(comparison);
  text += without_end("  " + aligned(rows.front(), widths, keys));
  for (std::size_t i = 0; i < comparison.runs.size(); ++i) {
    const ComparedRun& run = comparison.runs[i];
    const std::string error = run.report ? std::string() : fmt::format("error: {}", run.error);
    text += without_end((comparison.best == i ? "* " : "  ") + aligned(rows[i + 1], widths, keys) + error);
  }
  if (!comparison.best || !comparison.columns.empty()) return text;
  const bool is_short = !fits(*comparison.runs[*comparison.best].report);
  const bool has_steps = comparison.runs[*comparison.best].report->drift.has_value();
  const bool has_memory = std::find(columns.begin(), columns.end(), &fact("fits")) != columns.end();
  return text +
         fmt::format("\n* best{}; relative: {} over that of the best\n",
                     is_short     ? ", though none fits in memory"
                     : has_memory ? " of those that fit in memory"
                                  : "",
                     comparison.is_by_token ? "time per token and device"
                     : has_steps            ? "time of all steps"
                                            : "step time") +
         kernels_of(comparison);
}

/// A cell for each of these facts; empty ones for a run that failed.
void add_cells(const ComparedRun& run, std::span<const std::string_view> names, std::vector<TableCell>& row) {
  for (const std::string_view name : names)
    row.push_back(run.report ? cell_of(read(fact(name), *run.report)) : TableCell{});
}

/// The keys, what was asked for, and why there is nothing.
Table chosen_table(const Comparison& comparison) {
  Table table{.columns = comparison.keys};
  for (const Fact* column : comparison.columns) table.columns.emplace_back(column->called());
  table.columns.emplace_back("error");
  for (const ComparedRun& run : comparison.runs) {
    std::vector<TableCell>& row = table.rows.emplace_back();
    for (const Value& value : run.values) row.push_back({word(value)});
    for (const Fact* column : comparison.columns)
      row.push_back(run.report ? cell_of(read(*column, *run.report)) : TableCell{});
    row.push_back({run.error});
  }
  return table;
}

Table table_of(const Comparison& comparison) {
  if (!comparison.columns.empty()) return chosen_table(comparison);
  Table table{.columns = comparison.keys};
  const auto add = [&](std::span<const std::string_view> names) {
    table.columns.insert(table.columns.end(), names.begin(), names.end());
  };
  add(compared_columns());
  table.columns.insert(table.columns.end(), {"relative", "error"});
  add(later_columns());
  table.columns.emplace_back("plan");
  for (const std::span<const std::string_view> group : last_columns()) add(group);
  for (const ComparedRun& run : comparison.runs) {
    std::vector<TableCell>& row = table.rows.emplace_back();
    for (const Value& value : run.values) row.push_back({word(value)});
    add_cells(run, compared_columns(), row);
    row.push_back(run.report ? cell_of(value_of(run.relative)) : TableCell{});
    row.push_back({run.error});
    add_cells(run, later_columns(), row);
    row.push_back({run.report ? run.report->plan : std::string()});
    for (const std::span<const std::string_view> group : last_columns()) add_cells(run, group, row);
  }
  drop_empty_groups(table, last_columns());
  return table;
}

Value row_of(const Comparison& comparison, std::size_t i) {
  const ComparedRun& run = comparison.runs[i];
  Value row = empty_object();
  Value values = empty_object();
  for (std::size_t k = 0; k < run.values.size(); ++k) values.set(comparison.keys[k], run.values[k]);
  row.set("values", std::move(values));
  if (!run.report) {
    row.set("error", value_of(run.error));
    return row;
  }
  row.set("plan", value_of(run.report->plan));
  row.set("best", value_of(comparison.best == i));
  row.set("relative", value_of(run.relative));
  const auto add = [&](const Fact& fact) { set_known(row, fact.called(), read(fact, *run.report)); };
  for (const Fact* column : comparison.columns) add(*column);
  const auto add_usual = [&](std::span<const std::string_view> names) {
    for (const std::string_view name : names) {
      if (comparison.columns.empty()) add(fact(name));
    }
  };
  add_usual(compared_keys());
  for (const std::span<const std::string_view> group : last_columns()) add_usual(group);
  row.set("fingerprint", value_of(run.report->fingerprint));
  return row;
}

Value document_of(const Comparison& comparison) {
  Value document = empty_object();
  document.set("schema", value_of("moesim.compare/1"));
  document.set("about", value_of(comparison.about));
  if (!comparison.scenario.empty())
    document.set("scenario", parse_json(comparison.scenario, "scenario of a comparison"));
  document.set("over", list_of(comparison.keys));
  Value rows = empty_list();
  for (std::size_t i = 0; i < comparison.runs.size(); ++i) rows.items.push_back(row_of(comparison, i));
  document.set("runs", std::move(rows));
  return document;
}

}  // namespace

bool fits(const Report& report) { return report.memory.empty() || report.fits(); }

std::vector<const Fact*> facts_named(const std::string& names, const std::string& where) {
  std::vector<const Fact*> found;
  for (const std::string& name : split(names, ',')) {
    const Fact* fact = find_fact(name);
    if (fact != nullptr && fact->unit != Unit::rows) {
      found.push_back(fact);
      continue;
    }
    std::vector<std::string> known;
    for (const Fact& one : facts()) {
      if (one.unit != Unit::rows) known.emplace_back(one.called());
    }
    const std::string near = nearest_name(name, known);
    throw InputError(where, fmt::format("unknown '{}' (known: {}{})", name, fmt::join(known, ", "),
                                        near.empty() ? "" : fmt::format("; did you mean '{}'?", near)));
  }
  return found;
}

namespace {

/// Of a run of many steps of the mean one.
double seconds_of_step(const Report& report) {
  if (!report.drift) return to_seconds(report.step_time);
  return to_seconds(report.drift->time) / static_cast<double>(report.drift->count());
}

}  // namespace

void rank_runs(Comparison& comparison) {
  const Report* first = nullptr;
  bool all_have_tokens = true, some_differ = false, some_fit = false;
  for (const ComparedRun& run : comparison.runs) {
    if (!run.report) continue;
    if (first == nullptr) first = &*run.report;
    all_have_tokens &= run.report->tokens > 0;
    some_differ |= run.report->tokens != first->tokens || run.report->devices != first->devices;
    some_fit |= fits(*run.report);
  }
  comparison.is_by_token = all_have_tokens && some_differ;
  const auto cost = [&](const Report& report) {
    const double seconds = seconds_of_step(report);
    if (!comparison.is_by_token) return seconds;
    return 1 / (static_cast<double>(report.tokens) / seconds / static_cast<double>(report.devices));
  };
  comparison.best.reset();
  for (std::size_t i = 0; i < comparison.runs.size(); ++i) {
    const std::optional<Report>& report = comparison.runs[i].report;
    if (!report || (some_fit && !fits(*report))) continue;
    if (!comparison.best || cost(*report) < cost(*comparison.runs[*comparison.best].report))
      comparison.best = i;
  }
  if (!comparison.best) return;
  const double least = cost(*comparison.runs[*comparison.best].report);
  for (ComparedRun& run : comparison.runs) {
    if (run.report) run.relative = cost(*run.report) / least;
  }
}

Told tell(const Comparison& comparison) {
  return {.text = [&comparison] { return text_of(comparison); },
          .json = [&comparison] { return document_of(comparison); },
          .table = [&comparison] { return table_of(comparison); }};
}

}  // namespace moesim
