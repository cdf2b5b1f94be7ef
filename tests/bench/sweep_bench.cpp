// How many points a second a sweep runs, with one worker and with several: prints the table of
// docs/performance.md.
//   moesim_sweep_bench [WORKERS ...]      (default: 1 and one for each core)
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "sim/sweep/crew.hpp"
#include "sim/sweep/sweep.hpp"

namespace {

using namespace moesim;

struct Case {
  std::string scenario, over;
};

const std::vector<Case> cases{
    {"dualpipe-8x20", "pipeline.microbatches=16..1014 step 2"},
    {"mixtral-8x7b-h100", "routing.seed=1..300"},
    {"deepseek-v3-h800", "routing.seed=1..60"},
    {"deepseek-v3-routing-bad", "routing.seed=1..6"},
};

/// Points a second.
double rate_of(const Case& one, unsigned workers, const std::string& results) {
  const SweepRequest request{.path = fmt::format("{}/scenarios/{}.json", MOESIM_SOURCE, one.scenario),
                             .overrides = {},
                             .axes = {{parse_swept_key(one.over)}},
                             .jobs = workers};
  const SweepPlan plan = plan_sweep(request);
  Crew crew(plan, workers);
  const auto begin = std::chrono::steady_clock::now();
  Results kept = open_results(plan, results);
  SweepProgress last;
  sweep(plan, kept, crew, [&](const SweepProgress& progress, const auto&, const auto&) {
    last = progress;
    return true;
  });
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  if (last.failed > 0) fmt::print(stderr, "{}: {} points failed\n", one.scenario, last.failed);
  return static_cast<double>(last.points) / seconds;
}

}  // namespace

int main(int count, char** arguments) {
  std::vector<unsigned> workers;
  for (int i = 1; i < count; ++i)
    workers.push_back(static_cast<unsigned>(std::max(1, std::atoi(arguments[i]))));
  if (workers.empty()) workers = {1, std::max(1U, std::thread::hardware_concurrency())};
  fmt::print("| scenario | points |");
  for (const unsigned each : workers) fmt::print(" {} worker{}, points/s |", each, each == 1 ? "" : "s");
  fmt::print("\n");
  for (const Case& one : cases) {
    const SweepRequest request{.path = fmt::format("{}/scenarios/{}.json", MOESIM_SOURCE, one.scenario),
                               .overrides = {},
                               .axes = {{parse_swept_key(one.over)}}};
    fmt::print("| `{}` | {} |", one.scenario, plan_sweep(request).points.size());
    for (const unsigned each : workers) fmt::print(" {:.4g} |", rate_of(one, each, ":memory:"));
    fmt::print("\n");
  }
}
