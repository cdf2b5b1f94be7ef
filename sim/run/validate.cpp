#include "sim/run/validate.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "models/base/error.hpp"
#include "sim/read/scenario.hpp"
#include "sim/run/in_parallel.hpp"

namespace moesim {
namespace {

std::vector<Override> read_overrides(Reader& reader, std::string_view name, std::string_view help) {
  std::vector<Override> overrides;
  const Value* given = reader.raw(name, help);
  if (given == nullptr) return overrides;
  if (given->kind != Value::Kind::object) reader.fail(name, "is not an object of keys and values");
  for (const auto& [key, value] : given->members) overrides.push_back({.key = key, .value = value});
  return overrides;
}

const Figure& read_figure(Reader& reader, const std::string& fallback) {
  std::vector<std::string_view> names;
  for (const Figure& figure : figures()) names.push_back(figure.name);
  Key<std::string> key{.name = "figure", .help = "what was measured"};
  if (!fallback.empty()) key.fallback = fallback;
  return figures()[reader.choice(key, names)];
}

/// What the cases of a group have in common, each of which may say otherwise.
struct Common {
  std::string group, scenario, figure, source;
  std::optional<double> tolerance;
};

PublishedCase read_case(Reader reader, const Common& common) {
  const auto text = [&](std::string_view name, std::string_view help, const std::string& fallback) {
    Key<std::string> key{.name = name, .help = help};
    if (!fallback.empty()) key.fallback = fallback;
    return reader.text(key);
  };
  PublishedCase one;
  one.judged.group = common.group;
  one.judged.name = text("name", "of the case", {});
  one.scenario = text("scenario", "file of the scenario", common.scenario);
  one.overrides = read_overrides(reader, "set", "keys of the scenario that the case sets");
  one.is_ratio = reader.has("over");
  one.over = read_overrides(reader, "over", "the figure is divided by that with these keys set on top");
  one.figure = &read_figure(reader, common.figure);
  one.times = reader.number({.name = "times", .help = "what the figure is multiplied by", .fallback = 1.0});
  one.judged.published = reader.number({.name = "published", .help = "the figure as published"});
  one.judged.is_absolute = reader.flag(
      {.name = "absolute", .help = "whether the tolerance is a difference, not a share", .fallback = false});
  one.judged.tolerance = reader.number({.name = "tolerance",
                                        .help = "how far off the simulation may be",
                                        .fallback = common.tolerance,
                                        .at_least = 0.0});
  one.judged.source = text("source", "where it is published", common.source);
  one.judged.known =
      reader.text({.name = "known", .help = "why the case is out of tolerance, if it is", .fallback = ""});
  one.judged.figure = one.figure->name;
  one.judged.unit = one.is_ratio ? "" : std::string(one.figure->unit);
  if (one.judged.published == 0 && !one.judged.is_absolute)
    reader.fail("published", "is 0, which has no relative error: expected \"absolute\": true");
  reader.finish();
  return one;
}

std::vector<PublishedCase> read_group(Reader& reader, const std::string& name) {
  const auto text = [&](std::string_view key, std::string_view help) {
    return reader.text({.name = key, .help = help, .fallback = ""});
  };
  Common common{.group = name,
                .scenario = text("scenario", "file of the scenario of its cases"),
                .figure = text("figure", "what was measured"),
                .source = text("source", "where it is published"),
                .tolerance = std::nullopt};
  if (reader.has("tolerance")) {
    common.tolerance = reader.number({.name = "tolerance", .help = "of its cases", .at_least = 0.0});
  }
  std::vector<PublishedCase> cases;
  for (Reader& item : reader.items("cases", "one published figure each")) {
    cases.push_back(read_case(std::move(item), common));
  }
  reader.finish();
  return cases;
}

bool is_chosen(const std::string& name, const std::vector<std::string>& groups) {
  return groups.empty() || std::find(groups.begin(), groups.end(), name) != groups.end();
}

void check_chosen(const std::vector<std::string>& groups, const std::vector<std::string>& known) {
  for (const std::string& group : groups) {
    if (std::find(known.begin(), known.end(), group) != known.end()) continue;
    const std::string near = nearest_name(group, known);
    throw InputError("--group", fmt::format("unknown '{}' (known: {}{})", group, fmt::join(known, ", "),
                                            near.empty() ? "" : fmt::format("; did you mean '{}'?", near)));
  }
}

/// One scenario to run, for all figures that are read off it.
struct Run {
  const std::string* scenario = nullptr;
  std::vector<Override> overrides;
  std::vector<const Figure*> figures{};
  std::vector<double> values{};
  std::string error{};
};

std::string key_of(const std::string& scenario, const std::vector<Override>& overrides) {
  std::string key = scenario;
  for (const Override& one : overrides) key += "\n" + one.key + "=" + print(one.value, 100'000);
  return key;
}

/// The runs that the cases need, each once.
class Runs {
 public:
  /// Notes a figure of a run; returns where it will stand.
  std::pair<std::size_t, std::size_t> add(const PublishedCase& one, bool divisor) {
    std::vector<Override> overrides = one.overrides;
    if (divisor) overrides.insert(overrides.end(), one.over.begin(), one.over.end());
    const auto [known, is_new] = index_.emplace(key_of(one.scenario, overrides), runs_.size());
    if (is_new) runs_.push_back({.scenario = &one.scenario, .overrides = std::move(overrides)});
    Run& run = runs_[known->second];
    run.figures.push_back(one.figure);
    return {known->second, run.figures.size() - 1};
  }
  std::vector<Run>& all() { return runs_; }

 private:
  std::map<std::string, std::size_t> index_;
  std::vector<Run> runs_;
};

void run_one(Run& run) {
  run.values.assign(run.figures.size(), 0);
  try {
    const Scenario scenario = load_scenario(*run.scenario, run.overrides);
    const Simulation simulation = simulate(scenario);
    for (std::size_t i = 0; i < run.figures.size(); ++i) {
      run.values[i] = run.figures[i]->of(scenario, simulation);
    }
  } catch (const InputError& error) {
    run.error = error.what();
  } catch (const RunError& error) {
    run.error = error.what();
  }
}

}  // namespace

std::vector<PublishedCase> load_cases(const ValidateRequest& request) {
  const Value document = load_document(request.path);
  if (request.sees_files) request.sees_files(files_needed(document));
  Reader reader(document, "");
  std::vector<PublishedCase> cases;
  std::vector<std::string> names;
  for (Reader& group : reader.items("groups", "groups of published cases")) {
    names.push_back(group.text({.name = "name", .help = "of the group"}));
    std::vector<PublishedCase> more = read_group(group, names.back());
    if (is_chosen(names.back(), request.groups)) cases.insert(cases.end(), more.begin(), more.end());
  }
  reader.finish();
  check_chosen(request.groups, names);
  if (cases.empty()) throw InputError(request.path, "has no cases");
  return cases;
}

Validation validate(const ValidateRequest& request) {
  std::vector<PublishedCase> cases = load_cases(request);
  Runs runs;
  std::vector<std::pair<std::size_t, std::size_t>> places, divisors;
  for (PublishedCase& one : cases) {
    one.scenario = find_beside(one.scenario, request.path);
    places.push_back(runs.add(one, false));
    divisors.push_back(one.is_ratio ? runs.add(one, true) : places.back());
  }
  in_parallel(runs.all().size(), request.jobs, [&](std::size_t i, std::size_t) { run_one(runs.all()[i]); });
  Validation validation;
  for (std::size_t i = 0; i < cases.size(); ++i) {
    JudgedCase judged = cases[i].judged;
    const Run& run = runs.all()[places[i].first];
    const Run& divisor = runs.all()[divisors[i].first];
    judged.error = run.error.empty() ? divisor.error : run.error;
    if (judged.error.empty()) {
      judged.simulated = run.values[places[i].second] * cases[i].times;
      if (cases[i].is_ratio) judged.simulated /= divisor.values[divisors[i].second];
    }
    validation.cases.push_back(std::move(judged));
  }
  return validation;
}

}  // namespace moesim
