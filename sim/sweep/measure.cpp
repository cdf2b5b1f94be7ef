#include "sim/sweep/measure.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "models/base/error.hpp"
#include "models/base/text.hpp"
#include "models/config/reader.hpp"

namespace moesim {
namespace {

bool has(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

/// Whether a fact is a number by itself.
bool is_number(const Fact& fact) {
  return fact.unit != Unit::text && fact.unit != Unit::rows && fact.unit != Unit::flag;
}

/// The parts of a report that hold facts, or rows of their own.
std::vector<std::string> holders() {
  std::vector<std::string> names;
  for (const Fact& fact : facts()) {
    const std::string part(fact.path.substr(0, fact.path.find('.')));
    const bool holds = part != fact.path || fact.unit == Unit::rows;
    if (holds && !has(names, part)) names.push_back(part);
  }
  return names;
}

/// Facts that go by a name: those that runs are compared by, and those outside of all parts.
std::vector<const Fact*> named_facts() {
  std::vector<const Fact*> all;
  const auto add = [&](const Fact& fact) {
    if (is_number(fact) && std::find(all.begin(), all.end(), &fact) == all.end()) all.push_back(&fact);
  };
  for (const std::string_view name : compared_columns()) add(fact(name));
  for (const std::string_view name : compared_keys()) add(fact(name));
  for (const std::span<const std::string_view> group : last_columns())
    for (const std::string_view name : group) add(fact(name));
  for (const Fact& fact : facts()) {
    if (fact.path.find('.') == std::string_view::npos) add(fact);
  }
  return all;
}

/// Of a number that is no fact: of a row, or of a phase of communication.
Unit unit_of(const std::vector<std::string>& path) {
  const std::string& last = path.back();
  if (last.ends_with("_s")) return Unit::seconds;
  const bool lies_in_times = std::find(path.begin(), path.end() - 1, "step_time_s") != path.end() - 1;
  if (lies_in_times) return Unit::seconds;
  if (last.ends_with("utilization") || last == "share") return Unit::share;
  return path.front() == "memory" || last == "bytes" ? Unit::bytes : Unit::count;
}

/// "exposed communication" of {"breakdown_s", "exposed_communication"}.
std::string label_of(const std::vector<std::string>& path) {
  std::string label = path.back();
  if (label.ends_with("_s") && !label.ends_with("_per_s")) label.resize(label.size() - 2);
  const bool is_of_a_holder = path.size() > 1 && path.front() != "breakdown_s" && path.front() != "routing" &&
                              path.front() != "pipeline";
  if (is_of_a_holder) label = path[path.size() - 2] + " " + label;
  std::replace(label.begin(), label.end(), '_', ' ');
  return label;
}

}  // namespace

const Value* Measure::in(const Value& report) const {
  const Value* value = &report;
  for (const std::string& step : path) {
    std::size_t place = 0;
    const auto [end, error] = std::from_chars(step.data(), step.data() + step.size(), place);
    const bool is_item = value->kind == Value::Kind::list && error == std::errc() &&
                         end == step.data() + step.size() && place < value->items.size();
    value = is_item ? &value->items[place] : value->find(step);
    if (value == nullptr) return nullptr;
  }
  return value;
}

std::optional<double> Measure::number_in(const Value& report) const {
  const Value* value = in(report);
  if (value == nullptr || (value->kind != Value::Kind::number && value->kind != Value::Kind::integer))
    return std::nullopt;
  return value->number;
}

Measure measure_of(const Fact& fact) {
  return {.name = std::string(fact.called()),
          .path = split(fact.path, '.'),
          .label = std::string(fact.label),
          .unit = fact.unit,
          .more_is_better = fact.better == Better::higher};
}

Measure parse_measure(const std::string& name, const std::string& where) {
  const std::vector<const Fact*> named = named_facts();
  for (const Fact* fact : named) {
    if (fact->called() == name) return measure_of(*fact);
  }
  const std::vector<std::string> path = split(name, '.');
  if (path.size() < 2 || !has(holders(), path.front()) || has(path, "")) {
    std::vector<std::string> known;
    for (const Fact* fact : named) known.emplace_back(fact->called());
    const std::string near = nearest_name(name, known);
    throw InputError(where,
                     fmt::format("unknown '{}' (known: {}{})", name, fmt::join(known, ", "),
                                 near.empty() ? "" : fmt::format("; did you mean '{}'?", near)),
                     fmt::format("or the dotted path of a number in the JSON report, below {}",
                                 fmt::join(holders(), ", ")));
  }
  const Fact* fact = find_fact(name);
  return {.name = name,
          .path = path,
          .label = label_of(path),
          .unit = fact != nullptr ? fact->unit : unit_of(path),
          .more_is_better = fact != nullptr && fact->better == Better::higher};
}

}  // namespace moesim
