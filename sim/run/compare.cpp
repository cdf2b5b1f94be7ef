#include "sim/run/compare.hpp"

#include <fmt/format.h>

#include "models/base/error.hpp"
#include "sim/read/scenario.hpp"
#include "sim/run/in_parallel.hpp"
#include "sim/run/simulate.hpp"
#include "sim/run/source.hpp"

namespace moesim {
namespace {

/// The parts between commas that stand outside of quotes, brackets and braces.
std::vector<std::string> split_values(std::string_view text) {
  std::vector<std::string> values(1);
  int depth = 0;
  bool is_quoted = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char letter = text[i];
    if (is_quoted && letter == '\\' && i + 1 < text.size()) {
      values.back() += letter;
      values.back() += text[++i];
      continue;
    }
    if (letter == '"') is_quoted = !is_quoted;
    if (!is_quoted && (letter == '[' || letter == '{')) ++depth;
    if (!is_quoted && (letter == ']' || letter == '}')) --depth;
    if (letter == ',' && !is_quoted && depth == 0) {
      values.emplace_back();
    } else {
      values.back() += letter;
    }
  }
  return values;
}

void check_keys(const std::vector<VariedKey>& keys) {
  for (std::size_t i = 0; i < keys.size(); ++i) {
    for (std::size_t k = 0; k < i; ++k) {
      if (keys[k].key == keys[i].key) throw InputError("--over " + keys[i].key, "is given twice");
    }
  }
}

std::vector<Value> all_values(const std::vector<VariedKey>& keys) {
  std::vector<Value> all;
  for (const VariedKey& key : keys) all.insert(all.end(), key.values.begin(), key.values.end());
  return all;
}

/// All choices, the last key's values changing fastest.
std::vector<ComparedRun> product(const std::vector<VariedKey>& keys) {
  std::vector<ComparedRun> runs(1);
  for (const VariedKey& key : keys) {
    std::vector<ComparedRun> longer;
    for (const ComparedRun& run : runs) {
      for (const Value& value : key.values) {
        longer.push_back(run);
        longer.back().values.push_back(value);
      }
    }
    runs = std::move(longer);
  }
  return runs;
}

void run_one(const Source& source, const CompareRequest& request, ComparedRun& run) {
  std::vector<Override> overrides = request.overrides;
  for (std::size_t i = 0; i < run.values.size(); ++i) {
    overrides.push_back({.key = request.keys[i].key, .value = run.values[i]});
  }
  try {
    const Scenario scenario = read_scenario(source.load(overrides));
    Simulation simulation = simulate_step(scenario);
    draw_errors(simulation, 1);
    add_drift(scenario, simulation, 1);
    run.report = std::move(simulation.report);
  } catch (const InputError& error) {
    run.error = error.what();
  } catch (const RunError& error) {
    run.error = error.what();
  }
}

}  // namespace

VariedKey parse_varied_key(std::string_view argument) {
  const std::size_t equals = argument.find('=');
  if (equals == std::string_view::npos || equals == 0 || equals + 1 == argument.size()) {
    throw InputError(fmt::format("--over {}", argument),
                     "expected KEY=VALUE,VALUE,..., as --over schedule.kind=1f1b,zb_h1");
  }
  VariedKey varied{.key = std::string(argument.substr(0, equals)), .values = {}};
  for (const std::string& value : split_values(argument.substr(equals + 1))) {
    if (value.empty()) throw InputError(fmt::format("--over {}", argument), "has an empty value");
    varied.values.push_back(parse_override(varied.key + "=" + value).value);
    varied.values.back().origin = "--over";
  }
  return varied;
}

Comparison compare(const CompareRequest& request) {
  check_keys(request.keys);
  const Source source = Source::of(request.path);
  const Value document = source.load(request.overrides);
  if (request.sees_files) request.sees_files(files_needed(document, all_values(request.keys)));
  Comparison comparison;
  const Value* about = document.find("about");
  if (about != nullptr && about->kind == Value::Kind::text) comparison.about = about->text;
  comparison.title = title_of(document);
  comparison.scenario = one_line(whole_document(document));
  for (const VariedKey& key : request.keys) comparison.keys.push_back(key.key);
  comparison.runs = product(request.keys);
  in_parallel(comparison.runs.size(), request.jobs,
              [&](std::size_t i, std::size_t) { run_one(source, request, comparison.runs[i]); });
  rank_runs(comparison);
  return comparison;
}

}  // namespace moesim
