#include "sim/write/validation.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "models/config/values.hpp"
#include "sim/scenario/certainty.hpp"

namespace moesim {
namespace {

std::vector<std::string> group_names(const Validation& validation) {
  std::vector<std::string> names;
  for (const JudgedCase& one : validation.cases) {
    if (std::find(names.begin(), names.end(), one.group) == names.end()) names.push_back(one.group);
  }
  return names;
}

/// The value that a share of the sorted values do not exceed (nearest rank).
double quantile(const std::vector<double>& sorted, double share) {
  const auto rank = static_cast<std::size_t>(std::ceil(share * static_cast<double>(sorted.size())));
  return sorted[std::max<std::size_t>(rank, 1) - 1];
}

double median(const std::vector<double>& sorted) {
  const std::size_t half = sorted.size() / 2;
  return sorted.size() % 2 == 1 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}

GroupSummary summarize_group(const Validation& validation, const std::string& name) {
  GroupSummary summary{.name = name};
  std::vector<double> errors;
  for (const JudgedCase& one : validation.cases) {
    if (one.group != name) continue;
    ++summary.cases;
    if (one.is_within()) ++summary.within;
    if (one.is_absolute || !one.error.empty()) continue;
    errors.push_back(std::abs(one.deviation()));
    summary.mean += one.deviation();
  }
  summary.relative = errors.size();
  if (errors.empty()) return summary;
  std::sort(errors.begin(), errors.end());
  summary.mean /= static_cast<double>(errors.size());
  summary.median = median(errors);
  summary.ninetieth = quantile(errors, 0.9);
  summary.worst = errors.back();
  return summary;
}

std::string number(double value) { return fmt::format("{:.5g}", value); }

std::string error_of(const JudgedCase& one) {
  if (!one.error.empty()) return "failed";
  if (one.is_absolute) return fmt::format("{:+.5f}", one.deviation());
  return fmt::format("{:+.1f} %", 100 * one.deviation());
}

std::string tolerance_of(const JudgedCase& one) {
  return one.is_absolute ? fmt::format("{}", one.tolerance) : fmt::format("{:g} %", 100 * one.tolerance);
}

std::string verdict(const JudgedCase& one) {
  if (one.is_within()) return one.known.empty() ? "" : "within again";
  return one.known.empty() ? "OUT" : "out, known";
}

std::string without_end(std::string line) {
  line.erase(line.find_last_not_of(' ') + 1);
  return line + "\n";
}

std::string figure_of(const JudgedCase& one) {
  return one.figure + (one.unit.empty() ? "" : ", " + one.unit);
}

/// Columns of the longest name and figure of a group.
struct Widths {
  std::size_t name = 0, figure = 0;
};

Widths widths_of(const Validation& validation, const std::string& group) {
  Widths widths{.name = group.size(), .figure = 6};
  for (const JudgedCase& one : validation.cases) {
    if (one.group != group) continue;
    widths.name = std::max(widths.name, one.name.size());
    widths.figure = std::max(widths.figure, figure_of(one).size());
  }
  return widths;
}

std::string row(const JudgedCase& one, const Widths& widths) {
  const std::string simulated = one.error.empty() ? number(one.simulated) : "";
  return without_end(fmt::format("  {:<{}}  {:<{}} {:>10} {:>10} {:>10} {:>9}  {}", one.name, widths.name,
                                 figure_of(one), widths.figure, number(one.published), simulated,
                                 error_of(one), tolerance_of(one), verdict(one)));
}

std::string remarks(const Validation& validation, const std::string& group) {
  std::vector<std::string> lines;
  for (const JudgedCase& one : validation.cases) {
    if (one.group != group || one.is_within()) continue;
    const std::string& why = one.error.empty() ? one.known : one.error;
    const std::string line = why.empty() ? std::string() : fmt::format("  {}: {}\n", one.name, why);
    if (!line.empty() && std::find(lines.begin(), lines.end(), line) == lines.end()) lines.push_back(line);
  }
  return fmt::format("{}", fmt::join(lines, ""));
}

std::string table(const Validation& validation, const std::string& group) {
  const Widths widths = widths_of(validation, group);
  std::string text = fmt::format("{:<{}}  {:<{}} {:>10} {:>10} {:>10} {:>9}\n", group, widths.name + 2,
                                 "figure", widths.figure, "published", "simulated", "error", "tolerance");
  std::vector<std::string> sources;
  for (const JudgedCase& one : validation.cases) {
    if (one.group != group) continue;
    text += row(one, widths);
    if (std::find(sources.begin(), sources.end(), one.source) == sources.end()) sources.push_back(one.source);
  }
  text += remarks(validation, group);
  return text + fmt::format("  source: {}\n\n", fmt::join(sources, "; "));
}

/// What lies inside of bars that were made without it.
std::string coverage_text(const Validation& validation) {
  const std::vector<Coverage> all = coverage_of(validation);
  if (all.empty()) return {};
  std::string text =
      fmt::format("\n{:<36} {:>11}\n", fmt::format("Inside bars for {:g} %", 100 * bar_level), "inside");
  for (const Coverage& one : all)
    text += fmt::format("  {:<34} {:>11}\n", one.of, fmt::format("{} of {}", one.inside, one.all));
  return text;
}

std::string text_of(const Validation& validation) {
  std::string text;
  for (const std::string& name : group_names(validation)) text += table(validation, name);
  text += without_end(fmt::format("{:<36} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9}", "Errors of relative cases",
                                  "within", "median", "90 %", "worst", "mean", "tau-b"));
  for (const GroupSummary& group : summarize_groups(validation)) {
    const RankAgreement agreement = rank_agreement(validation, group.name);
    const auto percent = [&](double value, bool sign) {
      if (group.relative == 0) return std::string();
      return sign ? fmt::format("{:+.1f} %", 100 * value) : fmt::format("{:.1f} %", 100 * value);
    };
    text += without_end(
        fmt::format("  {:<34} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9}", group.name,
                    fmt::format("{} of {}", group.within, group.cases), percent(group.median, false),
                    percent(group.ninetieth, false), percent(group.worst, false), percent(group.mean, true),
                    agreement.pairs > 0 ? fmt::format("{:.2f}", agreement.tau) : std::string()));
  }
  return text + coverage_text(validation);
}

Table table_of(const Validation& validation) {
  Table table{.columns = {"group", "name", "figure", "unit", "published", "simulated", "error", "tolerance",
                          "absolute", "within", "source", "known"}};
  for (const JudgedCase& one : validation.cases) {
    const bool ran = one.error.empty();
    table.rows.push_back({{one.group},
                          {one.name},
                          {one.figure},
                          {one.unit},
                          cell_of(value_of(one.published)),
                          ran ? cell_of(value_of(one.simulated)) : TableCell{},
                          ran ? cell_of(value_of(one.deviation())) : TableCell{one.error},
                          cell_of(value_of(one.tolerance)),
                          cell_of(value_of(one.is_absolute)),
                          cell_of(value_of(one.is_within())),
                          {one.source},
                          {one.known}});
  }
  return table;
}

Value row_of(const JudgedCase& one) {
  Value row = empty_object();
  row.set("group", value_of(one.group));
  row.set("name", value_of(one.name));
  row.set("figure", value_of(one.figure));
  if (!one.unit.empty()) row.set("unit", value_of(one.unit));
  row.set("published", value_of(one.published));
  if (one.error.empty()) {
    row.set("simulated", value_of(one.simulated));
    row.set("error", value_of(one.deviation()));
  } else {
    row.set("failure", value_of(one.error));
  }
  row.set("tolerance", value_of(one.tolerance));
  row.set("absolute", value_of(one.is_absolute));
  row.set("within", value_of(one.is_within()));
  if (one.expected) row.set("expected_deviation", value_of(*one.expected));
  row.set("source", value_of(one.source));
  if (!one.known.empty()) row.set("known", value_of(one.known));
  return row;
}

Value row_of(const GroupSummary& group, const RankAgreement& agreement) {
  Value row = empty_object();
  row.set("name", value_of(group.name));
  row.set("cases", value_of(group.cases));
  row.set("within", value_of(group.within));
  if (group.relative > 0) {
    row.set("median", value_of(group.median));
    row.set("ninetieth", value_of(group.ninetieth));
    row.set("worst", value_of(group.worst));
    row.set("mean", value_of(group.mean));
  }
  if (agreement.pairs > 0) row.set("rank_agreement", value_of(agreement.tau));
  return row;
}

Value row_of(const Coverage& coverage) {
  Value row = empty_object();
  row.set("of", value_of(coverage.of));
  row.set("level", value_of(bar_level));
  row.set("inside", value_of(coverage.inside));
  row.set("all", value_of(coverage.all));
  return row;
}

Value document_of(const Validation& validation) {
  Value cases = empty_list();
  for (const JudgedCase& one : validation.cases) cases.items.push_back(row_of(one));
  Value groups = empty_list();
  for (const GroupSummary& group : summarize_groups(validation))
    groups.items.push_back(row_of(group, rank_agreement(validation, group.name)));
  Value document = empty_object();
  document.set("schema", value_of("moesim.validate/1"));
  document.set("cases", std::move(cases));
  document.set("groups", std::move(groups));
  Value coverage = empty_list();
  for (const Coverage& one : coverage_of(validation)) coverage.items.push_back(row_of(one));
  if (!coverage.items.empty()) document.set("coverage", std::move(coverage));
  return document;
}

}  // namespace

double JudgedCase::deviation() const {
  return is_absolute ? simulated - published : simulated / published - 1;
}

double JudgedCase::off() const { return std::log(published / simulated); }

void Coverage::add(double off, double deviation) {
  ++all;
  if (std::abs(off) <= bar_reach() * deviation) ++inside;
}

std::vector<Coverage> coverage_of(const Validation& validation) {
  std::vector<Coverage> all;
  for (const std::string& name : group_names(validation)) {
    Coverage group{.of = name};
    for (const JudgedCase& one : validation.cases)
      if (one.group == name && one.expected) group.add(one.off(), *one.expected);
    if (group.all > 0) all.push_back(group);
  }
  all.insert(all.end(), validation.calibrations.begin(), validation.calibrations.end());
  return all;
}

bool JudgedCase::is_within() const { return error.empty() && std::abs(deviation()) <= tolerance; }

std::vector<GroupSummary> summarize_groups(const Validation& validation) {
  std::vector<GroupSummary> summaries;
  for (const std::string& name : group_names(validation)) {
    summaries.push_back(summarize_group(validation, name));
  }
  return summaries;
}

RankAgreement rank_agreement(const Validation& validation, const std::string& group) {
  double score = 0;
  double published_pairs = 0;
  double simulated_pairs = 0;
  RankAgreement agreement;
  const auto sign = [](double x) { return x > 0 ? 1.0 : x < 0 ? -1.0 : 0.0; };
  for (std::size_t i = 0; i < validation.cases.size(); ++i) {
    const JudgedCase& a = validation.cases[i];
    for (std::size_t k = i + 1; k < validation.cases.size(); ++k) {
      const JudgedCase& b = validation.cases[k];
      const bool comparable = a.group == group && b.group == group && a.figure == b.figure &&
                              a.unit == b.unit && a.error.empty() && b.error.empty();
      if (!comparable) continue;
      const double published = sign(a.published - b.published);
      const double simulated = sign(a.simulated - b.simulated);
      score += published * simulated;
      published_pairs += std::abs(published);
      simulated_pairs += std::abs(simulated);
      ++agreement.pairs;
    }
  }
  if (published_pairs == 0 || simulated_pairs == 0) return {};
  agreement.tau = score / std::sqrt(published_pairs * simulated_pairs);
  return agreement;
}

Told tell(const Validation& validation) {
  return {.text = [&validation] { return text_of(validation); },
          .json = [&validation] { return document_of(validation); },
          .table = [&validation] { return table_of(validation); }};
}

}  // namespace moesim
