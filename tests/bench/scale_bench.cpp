// What a step costs from 128 to 16,384 GPUs: the main scenario with as many microbatches a GPU, folded, with
// uneven routing rank by rank, and with every GPU by itself. Prints a table of docs/performance.md; judges
// nothing.
#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>
#include <ctime>
#include <string>

#include "sim/lower/lower.hpp"
#include "sim/read/scenario.hpp"
#include "sim/report/report.hpp"
#include "sim/run/simulate.hpp"

using namespace moesim;

namespace {

double seconds() { return static_cast<double>(std::clock()) / CLOCKS_PER_SEC; }

double peak_megabytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) / 1024;
}

/// Up to 1,024 GPUs the expert group grows with the cluster, from there on the number of groups.
Scenario scenario_of(std::int64_t devices, const std::vector<std::string>& sets) {
  std::vector<Override> overrides{
      parse_override(fmt::format("cluster.devices={}", devices)),
      parse_override(fmt::format("parallelism.expert={}", std::min<std::int64_t>(64, devices / 16))),
      parse_override(fmt::format("batch.sequences={}", devices * 15 / 2))};
  for (const std::string& set : sets) overrides.push_back(parse_override(set));
  return load_scenario(MOESIM_SOURCE "/scenarios/deepseek-v3-h800.json", overrides);
}

void measure(std::string_view name, std::int64_t devices, const std::vector<std::string>& sets) {
  const double start = seconds();
  const Scenario scenario = scenario_of(devices, sets);
  const double loaded = seconds();
  const TaskGraph graph = lower(work_of(scenario));
  const double lowered = seconds();
  const Timeline timeline = scenario.engine->run(graph);
  const double ran = seconds();
  const Report report = summarize(work_of(scenario), graph, timeline, critical_path(graph, timeline));
  const double end = seconds();
  fmt::print("| {} | {} | {} | {:.3f} | {:.3f} | {:.3f} | {:.3f} | {:.3f} | {:.0f} | {:.0f} |\n", name,
             devices, graph.size(), loaded - start, lowered - loaded, ran - lowered, end - ran, end - start,
             (end - start) * 1e9 / static_cast<double>(graph.size()), peak_megabytes());
}

}  // namespace

/// Arguments: the most GPUs folded, rank by rank, and each by itself (default 16384 16384 4096).
int main(int argc, char** argv) {
  const auto most = [&](int argument, std::int64_t fallback) {
    return argc > argument ? std::stoll(argv[argument]) : fallback;
  };
  fmt::print(
      "Seconds of the processor; memory is the peak so far.\n\n"
      "| | GPUs | tasks | load, route | lower | run | report | all | ns a task | MB |\n"
      "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n");
  for (std::int64_t devices = 128; devices <= most(1, 16'384); devices *= 2) measure("folded", devices, {});
  for (std::int64_t devices = 128; devices <= most(2, 16'384); devices *= 2) {
    measure("rank by rank", devices,
            {"routing.spread=0", "routing.skew.kind=zipf", "routing.skew.exponent=0.5"});
  }
  for (std::int64_t devices = 128; devices <= most(3, 4096); devices *= 2) {
    measure("every GPU", devices, {"resolution=full"});
  }
}
