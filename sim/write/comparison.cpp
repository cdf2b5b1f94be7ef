#include "sim/write/comparison.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "sim/report/plan.hpp"
#include "sim/write/csv_cell.hpp"

namespace moesim {
namespace {

bool fits(const Report& report) { return report.memory.empty() || report.fits(); }

std::string word(const Value& value) {
  return value.kind == Value::Kind::text ? value.text : print(value, 1000);
}

/// A row of cells; those of one column have one width.
using Row = std::vector<std::string>;

struct Columns {
  bool has_model = false, has_memory = false;
};

Columns columns_of(const Comparison& comparison) {
  Columns columns;
  for (const ComparedRun& run : comparison.runs) {
    columns.has_model |= run.report && run.report->tokens > 0;
    columns.has_memory |= run.report && !run.report->memory.empty();
  }
  return columns;
}

Row header(const Comparison& comparison, const Columns& columns) {
  Row row = comparison.keys;
  row.insert(row.end(), {"step time", "relative", "bubble", "exposed comm."});
  if (columns.has_model) row.emplace_back("MFU");
  if (columns.has_memory) row.insert(row.end(), {"peak memory", "fits"});
  return row;
}

Row facts(const ComparedRun& run, const Columns& columns) {
  Row row;
  for (const Value& value : run.values) row.push_back(word(value));
  if (!run.report) return row;
  const Report& report = *run.report;
  row.insert(row.end(), {print(report.step_time), fmt::format("{:.3f}", run.relative),
                         fmt::format("{:.2f} %", 100 * report.bubble_mean),
                         print(report.breakdown.exposed_communication)});
  if (columns.has_model) row.push_back(report.tokens > 0 ? fmt::format("{:.1f} %", 100 * report.mfu()) : "");
  if (columns.has_memory) {
    const bool knows = !report.memory.empty();
    row.push_back(knows ? print(report.memory_peak()) : "");
    row.emplace_back(!knows ? "" : report.fits() ? "yes" : "NO");
  }
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

std::string numbers_csv(const ComparedRun& run) {
  if (!run.report) return ",,,,,,,";
  const Report& report = *run.report;
  const bool has_model = report.tokens > 0, has_memory = !report.memory.empty();
  return fmt::format("{},{},{},{},{},{},{},{}", to_seconds(report.step_time),
                     has_model ? fmt::format("{}", report.tokens_per_second_per_device()) : "",
                     has_model ? fmt::format("{}", report.mfu()) : "", report.bubble_fraction,
                     to_seconds(report.breakdown.exposed_communication),
                     has_memory ? fmt::format("{}", report.memory_peak().count) : "",
                     has_memory ? (report.fits() ? "true" : "false") : "", run.relative);
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
    return comparison.is_by_token ? 1 / report.tokens_per_second_per_device() : to_seconds(report.step_time);
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

std::string write_text(const Comparison& comparison) {
  const Columns columns = columns_of(comparison);
  std::vector<Row> rows{header(comparison, columns)};
  for (const ComparedRun& run : comparison.runs) rows.push_back(facts(run, columns));
  std::vector<std::size_t> widths(rows.front().size());
  for (const Row& row : rows) {
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  const std::size_t keys = comparison.keys.size();
  std::string text = heading(comparison);
  text += without_end("  " + aligned(rows.front(), widths, keys));
  for (std::size_t i = 0; i < comparison.runs.size(); ++i) {
    const ComparedRun& run = comparison.runs[i];
    const std::string error = run.report ? std::string() : fmt::format("error: {}", run.error);
    text += without_end((comparison.best == i ? "* " : "  ") + aligned(rows[i + 1], widths, keys) + error);
  }
  if (!comparison.best) return text;
  const bool is_short = !fits(*comparison.runs[*comparison.best].report);
  return text + fmt::format("\n* best{}; relative: {} over that of the best\n",
                            is_short             ? ", though none fits in memory"
                            : columns.has_memory ? " of those that fit in memory"
                                                 : "",
                            comparison.is_by_token ? "time per token and device" : "step time");
}

std::string write_csv(const Comparison& comparison) {
  std::string text;
  for (const std::string& key : comparison.keys) text += csv_cell(key) + ",";
  text +=
      "step_time_s,tokens_per_s_per_device,mfu,bubble_fraction,exposed_communication_s,peak_memory,fits,"
      "relative,error,bubble_mean,plan\n";
  for (const ComparedRun& run : comparison.runs) {
    for (const Value& value : run.values) text += csv_cell(word(value)) + ",";
    text += fmt::format("{},{},{},{}\n", numbers_csv(run), csv_cell(run.error),
                        run.report ? fmt::format("{}", run.report->bubble_mean) : "",
                        run.report ? csv_cell(run.report->plan) : "");
  }
  return text;
}

}  // namespace moesim
