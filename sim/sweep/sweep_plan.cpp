#include "sim/sweep/sweep_plan.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <exception>

#include "models/base/error.hpp"
#include "models/base/file.hpp"
#include "models/base/hash.hpp"
#include "models/config/unknown_key.hpp"
#include "models/config/values.hpp"
#include "sim/read/scenario.hpp"
#include "sim/run/compare.hpp"
#include "sim/run/simulate.hpp"
#include "sim/write/report.hpp"

namespace moesim {
namespace {

Value without_sweep(Value document) {
  std::erase_if(document.members, [](const auto& member) { return member.first == "sweep"; });
  return document;
}

/// The scenario as it is kept: with its parts in it, as it must tell when one of their files has changed.
std::string whole(Value document) { return one_line(whole_document(std::move(document), DataFiles::opened)); }

/// One of the plan's values by its name among `contents`.
std::string named(const std::string& key, const Value& value) { return key + "=" + one_line(value); }

std::string mark_of(const std::string& text) {
  std::uint64_t hash = hash_of_nothing;
  for (const char letter : text) hash = hash_with(hash, static_cast<unsigned char>(letter));
  return fmt::format("{:016x}", hash);
}

std::map<std::string, std::string> contents_of(const std::vector<ZippedKeys>& axes) {
  std::map<std::string, std::string> contents;
  for (const ZippedKeys& axis : axes) {
    for (const VariedKey& varied : axis) {
      for (const Value& value : varied.values) {
        Value part = empty_object();
        part.set("value", value);
        const std::string closed = one_line(part);
        if (const std::string open = whole(std::move(part)); open != closed)
          contents[named(varied.key, value)] = mark_of(open);
      }
    }
  }
  return contents;
}

/// The scenario of one point.
Value document_of(const SweepPlan& plan, std::size_t point) {
  std::vector<Override> overrides = plan.overrides;
  for (std::size_t i = 0; i < plan.keys.size(); ++i)
    overrides.push_back({.key = plan.keys[i], .value = plan.points[point][i]});
  return without_sweep(load_document_text(plan.text, plan.origin, overrides));
}

/// Other errors of the point are reported in its row.
bool knows_keys(const SweepPlan& plan, std::size_t point) {
  try {
    read_scenario(document_of(plan, point));
  } catch (const UnknownKey&) {
    return false;
  } catch (const std::exception&) {
  }
  return true;
}

/// The report without the time that the simulation took, which differs from start to start.
std::string report_of(const Scenario& scenario) {
  Value report = report_value(simulate(scenario).report);
  if (Value* engine = report.find("engine"))
    std::erase_if(engine->members, [](const auto& member) { return member.first == "wall_s"; });
  return one_line(report);
}

}  // namespace

VariedKey parse_swept_key(std::string_view argument) {
  const std::size_t equals = argument.find('=');
  if (equals != std::string_view::npos && equals > 0) {
    const std::string where = fmt::format("--over {}", argument.substr(0, equals));
    if (auto range = parse_range(std::string(argument.substr(equals + 1)), where)) {
      for (Value& value : *range) value.origin = "--over";
      return {.key = std::string(argument.substr(0, equals)), .values = std::move(*range)};
    }
  }
  return parse_varied_key(argument);
}

SweepPlan plan_sweep(const SweepRequest& request) { return plan_sweep(request, read_file(request.path)); }

SweepPlan plan_sweep(const SweepRequest& request, std::string text) {
  SweepPlan plan{.text = std::move(text),
                 .origin = request.path == "-" ? "standard input" : request.path,
                 .overrides = request.overrides,
                 .title = {},
                 .base = {},
                 .axes = {},
                 .keys = {},
                 .points = {},
                 .contents = {}};
  const Value document = load_document_text(plan.text, plan.origin, plan.overrides);
  plan.title = title_of(document);
  plan.base = whole(without_sweep(document));
  plan.axes = read_axes(document);
  plan.axes.insert(plan.axes.end(), request.axes.begin(), request.axes.end());
  if (plan.axes.empty())
    throw InputError(plan.origin, "varies no key", "add a \"sweep\", or --over KEY=VALUE,VALUE,...");
  plan.keys = keys_of(plan.axes);
  plan.points = points_of(plan.axes);
  plan.contents = contents_of(plan.axes);
  return plan;
}

std::string choice_of(const SweepPlan& plan, std::size_t point) {
  Value list = empty_list();
  list.items = plan.points[point];
  if (plan.contents.empty()) return one_line(list);
  for (std::size_t i = 0; i < plan.keys.size(); ++i) {
    const auto content = plan.contents.find(named(plan.keys[i], list.items[i]));
    if (content == plan.contents.end()) continue;
    Value both = empty_object();
    both.set("value", std::move(list.items[i]));
    both.set("content", value_of(content->second));
    list.items[i] = std::move(both);
  }
  return one_line(list);
}

std::string basis_of(const SweepPlan& plan) {
  std::string basis = plan.base;
  for (const auto& [value, content] : plan.contents) basis += fmt::format("\n{}: {}", value, content);
  return basis;
}

std::vector<std::string> files_needed(const SweepPlan& plan) {
  std::vector<Value> values;
  for (const ZippedKeys& axis : plan.axes) {
    for (const VariedKey& key : axis) values.insert(values.end(), key.values.begin(), key.values.end());
  }
  return files_needed(load_document_text(plan.text, plan.origin, plan.overrides), values);
}

void check_keys(const SweepPlan& plan) {
  try {
    read_scenario(document_of(plan, 0));
  } catch (const UnknownKey&) {
    if (!knows_keys(plan, plan.points.size() - 1)) throw;
  } catch (const std::exception&) {  // its row says it
  }
}

PointResult run_point(const SweepPlan& plan, std::size_t point) {
  PointResult result{.scenario = plan.base, .report = {}, .error = {}};
  try {
    const Value document = document_of(plan, point);
    result.scenario = whole(document);
    result.report = report_of(read_scenario(document));
  } catch (const std::exception& error) {
    result.error = error.what();
  }
  return result;
}

}  // namespace moesim
