#include "sim/run/repeat.hpp"

#include <fmt/format.h>

#include "models/base/file.hpp"
#include "sim/read/scenario.hpp"
#include "sim/run/in_parallel.hpp"

namespace moesim {
namespace {

struct Figures {
  double step_time = 0, goodput = 0;
};

Figures figures_of(const Report& report) {
  return {to_seconds(report.step_time), report.goodput ? report.goodput->simulated : 0};
}

/// The seeds of a later run.
std::vector<Override> seeds(const Scenario& first, std::size_t run) {
  const auto seed = [&](std::string_view key, std::uint64_t base) {
    return parse_override(fmt::format("{}={}", key, base + run));
  };
  std::vector<Override> overrides{seed("faults.seed", first.faults.seed)};
  if (!first.fixed) overrides.push_back(seed("routing.seed", first.router.seed));
  return overrides;
}

}  // namespace

CompletedRun run(const RunRequest& request) {
  const std::string text = read_file(request.path);
  const std::string origin = request.path == "-" ? "standard input" : request.path;
  Value document = load_document_text(text, origin, request.overrides);
  if (request.sees_files) request.sees_files(files_needed(document));
  auto scenario = std::make_unique<const Scenario>(read_scenario(document));
  Simulation simulation = simulate(*scenario, request.jobs);
  if (scenario->repeat > 1) {
    std::vector<Figures> all(static_cast<std::size_t>(scenario->repeat));
    all[0] = figures_of(simulation.report);
    in_parallel(all.size() - 1, request.jobs, [&](std::size_t later, std::size_t) {
      const std::size_t i = later + 1;
      std::vector<Override> overrides = request.overrides;
      for (Override& seed : seeds(*scenario, i)) overrides.push_back(std::move(seed));
      all[i] = figures_of(simulate_step(read_scenario(load_document_text(text, origin, overrides))).report);
    });
    const auto over = [&](double Figures::*figure) {
      std::vector<double> values;
      for (const Figures& one : all) values.push_back(one.*figure);
      return percentiles_of(std::move(values));
    };
    RepeatReport& repeat = simulation.report.repeat.emplace();
    repeat.runs = scenario->repeat;
    repeat.step_time = over(&Figures::step_time);
    if (simulation.report.goodput) repeat.goodput = over(&Figures::goodput);
  }
  return {std::move(scenario), std::move(simulation), std::move(document)};
}

}  // namespace moesim
