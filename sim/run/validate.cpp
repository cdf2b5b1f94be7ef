#include "sim/run/validate.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>
#include <tuple>

#include "models/base/error.hpp"
#include "sim/read/scenario.hpp"
#include "sim/report/error_model.hpp"
#include "sim/run/in_parallel.hpp"
#include "sim/run/residuals.hpp"

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

/// Of a case among residuals.
std::string residual_name(const JudgedCase& one) {
  return fmt::format("{}: {}, {}", one.group, one.name, one.figure);
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

/// A figure of a run that a case asks for.
struct Asked {
  const Figure* figure = nullptr;
  std::string name;  ///< of the case among residuals
  double value = 0;
  std::optional<FamilyName> family{};
  std::optional<double> expected{};
};

/// One scenario to run, for all figures that are read off it.
struct Run {
  const std::string* scenario = nullptr;
  std::vector<Override> overrides;
  std::vector<Asked> asked{};
  std::string error{};
};

std::string key_of(const std::string& scenario, const std::vector<Override>& overrides) {
  std::string key = scenario;
  for (const Override& one : overrides) key += "\n" + one.key + "=" + print(one.value, 100'000);
  return key;
}

/// Where a figure stands: which run, which of what is asked of it.
struct Place {
  std::size_t run = 0, asked = 0;
};

/// The runs that the cases need, each once.
class Runs {
 public:
  /// Notes a figure of a run; returns where it will stand.
  Place add(const PublishedCase& one, bool divisor) {
    std::vector<Override> overrides = one.overrides;
    if (divisor) overrides.insert(overrides.end(), one.over.begin(), one.over.end());
    const auto [known, is_new] = index_.emplace(key_of(one.scenario, overrides), runs_.size());
    if (is_new) runs_.push_back({.scenario = &one.scenario, .overrides = std::move(overrides)});
    Run& run = runs_[known->second];
    run.asked.push_back({.figure = one.figure, .name = residual_name(one.judged)});
    return {known->second, run.asked.size() - 1};
  }
  std::vector<Run>& all() { return runs_; }
  const Run& of(const Place& place) const { return runs_[place.run]; }
  const Asked& at(const Place& place) const { return runs_[place.run].asked[place.asked]; }

 private:
  std::map<std::string, std::size_t> index_;
  std::vector<Run> runs_;
};

/// Errors are expected by what `certainty`, or else the scenario, knows without the case.
void run_one(Run& run, const Certainty* certainty) {
  try {
    const Scenario scenario = load_scenario(*run.scenario, run.overrides);
    const Simulation simulation = simulate(scenario);
    const Certainty& known = certainty == nullptr ? scenario.certainty : *certainty;
    for (Asked& one : run.asked) {
      one.value = one.figure->of(scenario, simulation);
      one.family = family_of(*one.figure, simulation);
      if (one.family) one.expected = expected_deviation(*one.figure, simulation, known.without(one.name));
    }
  } catch (const InputError& error) {
    run.error = error.what();
  } catch (const RunError& error) {
    run.error = error.what();
  }
}

/// Cases with their runs.
struct RunCases {
  std::vector<PublishedCase> cases;
  Runs runs;
  std::vector<Place> places, divisors;  // by case
};

RunCases run_cases(const ValidateRequest& request, const Certainty* certainty) {
  RunCases all{.cases = load_cases(request), .runs = {}, .places = {}, .divisors = {}};
  for (PublishedCase& one : all.cases) {
    one.scenario = find_beside(one.scenario, request.path);
    all.places.push_back(all.runs.add(one, false));
    all.divisors.push_back(one.is_ratio ? all.runs.add(one, true) : all.places.back());
  }
  in_parallel(all.runs.all().size(), request.jobs,
              [&](std::size_t i, std::size_t) { run_one(all.runs.all()[i], certainty); });
  return all;
}

/// A case as it came out.
JudgedCase judged(const RunCases& all, std::size_t i) {
  const PublishedCase& one = all.cases[i];
  JudgedCase judged = one.judged;
  const Run& run = all.runs.of(all.places[i]);
  const Run& divisor = all.runs.of(all.divisors[i]);
  judged.error = run.error.empty() ? divisor.error : run.error;
  if (!judged.error.empty()) return judged;
  const Asked& asked = all.runs.at(all.places[i]);
  judged.simulated = asked.value * one.times;
  if (one.is_ratio) judged.simulated /= all.runs.at(all.divisors[i]).value;
  if (!one.is_ratio && !judged.is_absolute) judged.expected = asked.expected;
  return judged;
}

/// What the cases were off, by families in their order; of several figures of one run and family the first.
std::vector<ErrorFamily> families_of(const RunCases& all, bool of_software_alone) {
  std::vector<ErrorFamily> families;
  std::set<std::tuple<std::size_t, std::string, std::string>> seen;
  for (std::size_t i = 0; i < all.cases.size(); ++i) {
    const JudgedCase one = judged(all, i);
    const Asked& asked = all.runs.at(all.places[i]);
    if (!one.error.empty() || one.is_absolute || all.cases[i].is_ratio || !asked.family) continue;
    const FamilyName& name = *asked.family;
    if ((name.of == of_software) != of_software_alone) continue;
    const bool is_step = of_software_alone;
    if (is_step && !seen.emplace(all.places[i].run, name.of, name.where).second) continue;
    const auto same = std::find_if(families.begin(), families.end(), [&](const ErrorFamily& family) {
      return family.of == name.of && family.where == name.where;
    });
    ErrorFamily& family = same != families.end() ? *same : families.emplace_back();
    family.of = name.of;
    family.where = name.where;
    family.residuals.push_back({.name = asked.name,
                                .off = asked.figure->is_rate() ? -one.off() : one.off(),
                                .explained = is_step ? asked.expected.value_or(0) : 0});
  }
  for (ErrorFamily& family : families) family.deviation = deviation_of(family.residuals);
  return families;
}

std::vector<CalibrationFiles> read_calibrations(Reader& reader, const std::string& origin) {
  std::vector<CalibrationFiles> all;
  for (Reader& item : reader.items("calibrations", "with whole blocks measured beside them")) {
    CalibrationFiles files;
    files.calibration = find_beside(item.text({.name = "calibration", .help = "its file"}), origin);
    files.blocks = find_beside(item.text({.name = "blocks", .help = "file of the blocks"}), origin);
    item.finish();
    all.push_back(std::move(files));
  }
  return all;
}

/// The calibrations of a file of cases.
std::vector<CalibrationFiles> load_calibrations(const std::string& path) {
  const Value document = load_document(path);
  Reader reader(document, "");
  return read_calibrations(reader, path);
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
  static_cast<void>(read_calibrations(reader, request.path));
  reader.finish();
  check_chosen(request.groups, names);
  if (cases.empty()) throw InputError(request.path, "has no cases");
  return cases;
}

Validation validate(const ValidateRequest& request) {
  const RunCases all = run_cases(request, nullptr);
  Validation validation;
  for (std::size_t i = 0; i < all.cases.size(); ++i) validation.cases.push_back(judged(all, i));
  if (!request.groups.empty()) return validation;
  for (const CalibrationFiles& files : load_calibrations(request.path)) {
    for (Coverage& one : coverage_of(files)) validation.calibrations.push_back(std::move(one));
  }
  return validation;
}

std::vector<ErrorFamily> residuals_of(const ValidateRequest& request) {
  Certainty known;
  for (const CalibrationFiles& files : load_calibrations(request.path)) add_families(files, known.families);
  for (ErrorFamily& family : families_of(run_cases(request, &known), false))
    known.families.push_back(std::move(family));
  // Again, now that something is known that explains part of steps.
  for (ErrorFamily& family : families_of(run_cases(request, &known), true))
    known.families.push_back(std::move(family));
  return std::move(known.families);
}

}  // namespace moesim
