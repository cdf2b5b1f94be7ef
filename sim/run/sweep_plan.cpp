#include "sim/run/sweep_plan.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <exception>
#include <limits>

#include "models/base/error.hpp"
#include "models/base/file.hpp"
#include "sim/run/compare.hpp"
#include "sim/run/simulate.hpp"

namespace moesim {
namespace {

std::string one_line(const Value& value) { return print(value, std::numeric_limits<std::size_t>::max()); }

Value without_sweep(Value document) {
  std::erase_if(document.members, [](const auto& member) { return member.first == "sweep"; });
  return document;
}

/// Opens parts that are files in place: what is kept must tell when one of them has changed.
void open_parts(Value& value) {
  for (auto& [name, part] : value.members) {
    try {
      if (part.kind == Value::Kind::text && part.text.ends_with(".json"))
        part = load_document(find_beside(part.text, part.origin));
    } catch (const InputError&) {  // a run says what is wrong with it
    }
    if (part.kind == Value::Kind::object) open_parts(part);
  }
}

/// The scenario as it is kept.
std::string whole(Value document) {
  open_parts(document);
  return one_line(document);
}

/// The report without the time that the simulation took, which differs from start to start.
std::string report_of(const Scenario& scenario) {
  Value report = parse_json(write_report_json(simulate(scenario).report), "report");
  if (Value* engine = report.find("engine"))
    std::erase_if(engine->members, [](const auto& member) { return member.first == "wall_s"; });
  return one_line(report);
}

}  // namespace

VariedKey parse_swept_key(std::string_view argument) {
  const std::size_t equals = argument.find('=');
  if (equals != std::string_view::npos && equals > 0) {
    const std::string where = fmt::format("--over {}", argument.substr(0, equals));
    if (auto range = parse_range(std::string(argument.substr(equals + 1)), where))
      return {.key = std::string(argument.substr(0, equals)), .values = std::move(*range)};
  }
  return parse_varied_key(argument);
}

SweepPlan plan_sweep(const SweepRequest& request) { return plan_sweep(request, read_file(request.path)); }

SweepPlan plan_sweep(const SweepRequest& request, std::string text) {
  SweepPlan plan{.text = std::move(text),
                 .origin = request.path == "-" ? "standard input" : request.path,
                 .overrides = request.overrides,
                 .about = {},
                 .base = {},
                 .axes = {},
                 .keys = {},
                 .points = {}};
  const Value document = load_document_text(plan.text, plan.origin, plan.overrides);
  if (const Value* about = document.find("about")) plan.about = about->text;
  plan.base = whole(without_sweep(document));
  plan.axes = read_axes(document);
  plan.axes.insert(plan.axes.end(), request.axes.begin(), request.axes.end());
  if (plan.axes.empty())
    throw InputError(plan.origin, "varies no key", "add a \"sweep\", or --over KEY=VALUE,VALUE,...");
  plan.keys = keys_of(plan.axes);
  plan.points = points_of(plan.axes);
  return plan;
}

std::string choice_of(const std::vector<Value>& values) {
  Value list{.kind = Value::Kind::list};
  list.items = values;
  return one_line(list);
}

PointResult run_point(const SweepPlan& plan, std::size_t point) {
  PointResult result{.scenario = plan.base, .report = {}, .error = {}};
  std::vector<Override> overrides = plan.overrides;
  for (std::size_t i = 0; i < plan.keys.size(); ++i)
    overrides.push_back({.key = plan.keys[i], .value = plan.points[point][i]});
  try {
    const Value document = without_sweep(load_document_text(plan.text, plan.origin, overrides));
    result.scenario = whole(document);
    result.report = report_of(read_scenario(document));
  } catch (const std::exception& error) {
    result.error = error.what();
  }
  return result;
}

}  // namespace moesim
