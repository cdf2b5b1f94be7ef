// What an explanation says, as text, JSON and a table.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <span>

#include "models/base/at.hpp"
#include "models/config/values.hpp"
#include "sim/explain/explain.hpp"
#include "sim/report/fact.hpp"
#include "sim/report/verdict.hpp"
#include "sim/write/comparison.hpp"

namespace moesim {
namespace {

/// A change that gains less says nothing.
constexpr double worth_a_row = 0.0005;

/// Facts of which a change may cost more than before, and by how much of the step or of themselves it is
/// said.
struct Cost {
  std::string_view fact, says;
  double least;         ///< share of what it is measured against
  bool of_step = true;  ///< else of the fact before
};
constexpr Cost costs[] = {{"exposed_communication_s", "exposed communication", 0.01},
                          {"bubble_s", "bubbles", 0.01},
                          {"compute_s", "compute", 0.01},
                          {"host_s", "host", 0.01},
                          {"optimizer_s", "update", 0.01},
                          {"joules", "energy", 0.02, false}};

std::string more_of(std::string_view name, double amount) {
  Value value = value_of(amount);
  return "+" + print(fact(name), value);
}

/// "compute +120 ms, energy +4 kJ": what grows.
std::string costs_of(const Report& report, const Report& base) {
  std::vector<std::string> words;
  for (const Cost& cost : costs) {
    const double before = number(cost.fact, base), more = number(cost.fact, report) - before;
    const double against = cost.of_step ? to_seconds(base.step_time) : before;
    if (more > cost.least * against)
      words.push_back(fmt::format("{} {}", cost.says, more_of(cost.fact, more)));
  }
  if (report.routing && base.routing) {
    const double more = report.routing->dropped_token_fraction - base.routing->dropped_token_fraction;
    if (more > 1e-4) words.push_back(fmt::format("drops {:.1f} % of choices", 100 * more));
  }
  return fmt::format("{}", fmt::join(words, ", "));
}

double peak_of(const Report& report) {
  return report.memory.empty() ? 0 : static_cast<double>(report.memory_peak().count);
}

/// "+1.2 GB", with "DOES NOT FIT" behind it; empty where it is as before.
std::string memory_of(const Report& report, const Report& base) {
  const double more = peak_of(report) - peak_of(base);
  const std::string amount = print(from_bytes(std::abs(more)));
  std::string text = std::abs(more) < 0.001 * peak_of(base) ? "as before" : (more < 0 ? "-" : "+") + amount;
  return fits(report) ? text : text + ", DOES NOT FIT";
}

std::string name_of(const Change& change) {
  return change.says.empty() ? change.keys() : fmt::format("{} ({})", change.says, change.keys());
}

/// A line of the table for people.
struct Line {
  std::string name, time, gain, memory, costs;
};

Line line_of(const std::string& name, const Report& report, double gain, const Report& base) {
  return {name, print(report.step_time), fmt::format("{:+.1f} %", 100 * gain), memory_of(report, base),
          costs_of(report, base)};
}

std::string aligned(const std::vector<Line>& lines) {
  std::array<std::size_t, 4> widths{};
  for (const Line& line : lines) {
    const std::string* cells[] = {&line.name, &line.time, &line.gain, &line.memory};
    for (std::size_t i = 0; i < widths.size(); ++i) widths[i] = std::max(widths[i], cells[i]->size());
  }
  std::string text;
  for (const Line& line : lines) {
    std::string row = fmt::format("  {:<{}}  {:>{}}  {:>{}}  {:<{}}  {}", line.name, widths[0], line.time,
                                  widths[1], line.gain, widths[2], line.memory, widths[3], line.costs);
    row.erase(row.find_last_not_of(' ') + 1);
    text += row + "\n";
  }
  return text;
}

/// What gains, of one kind: those that fit before those that do not.
std::vector<const TriedChange*> gains_of(const Explanation& all, ChangeKind kind) {
  std::vector<const TriedChange*> gains;
  for (const bool wanted : {true, false}) {
    for (const TriedChange& one : all.changes) {
      if (one.change.kind == kind && one.report && one.gain > worth_a_row && fits(*one.report) == wanted)
        gains.push_back(&one);
    }
  }
  return gains;
}

constexpr std::string_view headings[] = {"What would help", "With other numbers in training",
                                         "With other hardware, or if it were so"};

std::string part_of(const Explanation& all, ChangeKind kind) {
  const std::vector<const TriedChange*> gains = gains_of(all, kind);
  std::string text = fmt::format("\n{}\n", at(headings, kind));
  if (gains.empty()) return text + "  nothing that was tried\n";
  std::vector<Line> lines{{"", "step time", "gain", "memory", "costs"}};
  for (std::size_t i = 0; i < std::min(all.top, gains.size()); ++i)
    lines.push_back(line_of(name_of(gains[i]->change), *gains[i]->report, gains[i]->gain, all.base));
  text += aligned(lines);
  if (gains.size() > all.top) text += fmt::format("  and {} more (--top)\n", gains.size() - all.top);
  return text;
}

std::string pairs_of(const Explanation& all) {
  if (all.pairs.empty()) return {};
  std::vector<Line> lines;
  for (std::size_t i = 0; i < std::min(all.top, all.pairs.size()); ++i) {
    const TriedPair& pair = all.pairs[i];
    const auto name = [&](std::size_t change) { return all.changes[change].change.keys(); };
    lines.push_back(line_of(name(pair.first) + " " + name(pair.second), *pair.report, pair.gain, all.base));
  }
  return "\nTwo together\n" + aligned(lines);
}

std::string left_over(const Explanation& all) {
  std::size_t idle = 0, slower = 0, refused = 0;
  for (const TriedChange& one : all.changes) {
    if (!one.report) {
      ++refused;
    } else if (one.gain < -worth_a_row) {
      ++slower;
    } else if (one.gain <= worth_a_row) {
      ++idle;
    }
  }
  return fmt::format(
      "\nTried {} changes one at a time: {} make the step longer, {} change nothing, {} are refused (why is "
      "in --format json).\n",
      all.changes.size(), slower, idle, refused);
}

std::string text_of(const Explanation& all) {
  std::string text = all.title.empty() ? std::string() : all.title + "\n";
  text += all.base.plan + "\n";
  text += fmt::format("  step time {}, memory {} of {}{}\n", print(all.base.step_time),
                      print("memory.peak", all.base), print("memory.capacity", all.base),
                      fits(all.base) ? "" : ": DOES NOT FIT");
  text += "\nWhy\n";
  for (const std::string& sentence : verdict_of(all.base)) text += "  " + sentence + "\n";
  for (const ChangeKind kind : {ChangeKind::setting, ChangeKind::numerics, ChangeKind::what_if})
    text += part_of(all, kind);
  return text + pairs_of(all) + left_over(all);
}

constexpr std::string_view told_facts[] = {"step_time_s", "mfu",    "bubble_mean", "exposed_communication_s",
                                           "compute_s",   "host_s", "peak_memory", "fits"};

void set_report(Value& row, const Report& report, double gain, const Report& base) {
  row.set("gain", value_of(gain));
  row.set("memory_change", value_of(peak_of(report) - peak_of(base)));
  for (const std::string_view name : told_facts) {
    if (Value value = read(fact(name), report); value.kind != Value::Kind::null) row.set(name, value);
  }
  if (const std::string words = costs_of(report, base); !words.empty()) row.set("costs", value_of(words));
  row.set("plan", value_of(report.plan));
  row.set("fingerprint", value_of(report.fingerprint));
}

Value row_of(const TriedChange& one, const Report& base) {
  Value row = empty_object();
  row.set("kind", value_of(at(change_kind_names, one.change.kind)));
  row.set("about", value_of(one.change.about));
  row.set("change", value_of(one.change.keys()));
  if (!one.change.says.empty()) row.set("says", value_of(one.change.says));
  if (one.report) {
    set_report(row, *one.report, one.gain, base);
  } else {
    row.set("error", value_of(one.error));
  }
  return row;
}

Value document_of(const Explanation& all) {
  Value document = empty_object();
  document.set("schema", value_of("moesim.explain/1"));
  document.set("about", value_of(all.about));
  document.set("plan", value_of(all.base.plan));
  document.set("scenario", parse_json(all.scenario, "scenario of an explanation"));
  document.set("step_time_s", read(fact("step_time_s"), all.base));
  document.set("fits", value_of(fits(all.base)));
  document.set("fingerprint", value_of(all.base.fingerprint));
  document.set("verdict", list_of(verdict_of(all.base)));
  Value changes = empty_list();
  for (const TriedChange& one : all.changes) changes.items.push_back(row_of(one, all.base));
  document.set("changes", std::move(changes));
  Value pairs = empty_list();
  for (const TriedPair& pair : all.pairs) {
    Value row = empty_object();
    row.set("changes", list_of(std::vector<std::size_t>{pair.first, pair.second}));
    set_report(row, *pair.report, pair.gain, all.base);
    pairs.items.push_back(std::move(row));
  }
  document.set("pairs", std::move(pairs));
  return document;
}

void add_row(Table& table, std::string_view kind, std::string_view about, std::string change,
             const std::optional<Report>& report, double gain, const std::string& error) {
  std::vector<TableCell>& row = table.rows.emplace_back();
  row.push_back({std::string(kind)});
  row.push_back({std::string(about)});
  row.push_back({std::move(change), true});
  row.push_back(report ? cell_of(value_of(gain)) : TableCell{});
  for (const std::string_view name : told_facts)
    row.push_back(report ? cell_of(read(fact(name), *report)) : TableCell{});
  row.push_back({error, !error.empty()});
}

Table table_of(const Explanation& all) {
  Table table{.columns = {"kind", "about", "change", "gain"}};
  table.columns.insert(table.columns.end(), std::begin(told_facts), std::end(told_facts));
  table.columns.emplace_back("error");
  for (const TriedChange& one : all.changes)
    add_row(table, at(change_kind_names, one.change.kind), one.change.about, one.change.keys(), one.report,
            one.gain, one.error);
  for (const TriedPair& pair : all.pairs) {
    const auto keys = [&](std::size_t change) { return all.changes[change].change.keys(); };
    add_row(table, "pair", "", keys(pair.first) + " " + keys(pair.second), pair.report, pair.gain,
            pair.error);
  }
  return table;
}

}  // namespace

Told tell(const Explanation& explanation) {
  return {.text = [&explanation] { return text_of(explanation); },
          .json = [&explanation] { return document_of(explanation); },
          .table = [&explanation] { return table_of(explanation); }};
}

}  // namespace moesim
