// moesim sweep SCENARIO: every point of a scenario's axes, kept in a file as they come.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <memory>
#include <thread>

#include "models/base/error.hpp"
#include "models/base/file.hpp"
#include "sim/run/sweep.hpp"
#include "tools/command.hpp"

namespace moesim {
namespace {

struct SweepOptions {
  std::vector<std::string> sets, over;
  std::string scenario, engine, out = ":memory:", csv, json_lines;
  bool zip = false, dry_run = false, quiet = false;
  unsigned jobs = 0;  ///< 0: one for each core
};

volatile std::sig_atomic_t is_interrupted = 0;

std::string shown(const SweepPlan& plan, const std::vector<Value>& values) {
  std::string text;
  for (std::size_t i = 0; i < values.size(); ++i)
    text += fmt::format("{}{}={}", i == 0 ? "" : ", ", plan.keys[i], print(values[i]));
  return text;
}

/// Points done, their rate and the time left, on a terminal only.
void show(const SweepProgress& progress, std::chrono::steady_clock::time_point begin) {
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  const double rate = static_cast<double>(progress.done - progress.found) / std::max(seconds, 1e-9);
  fmt::print(stderr, "\r{} of {} points, {:.1f} a second, {:.0f} s left\x1b[K", progress.done,
             progress.points, rate,
             static_cast<double>(progress.points - progress.done) / std::max(rate, 1e-9));
}

SweepRequest request_of(const SweepOptions& options) {
  CommonOptions common;
  common.sets = options.sets;
  common.engine = options.engine;
  SweepRequest request{.path = options.scenario,
                       .overrides = overrides_of(common),
                       .axes = {},
                       .results = options.out,
                       .jobs = options.jobs > 0 ? options.jobs : std::thread::hardware_concurrency()};
  for (const std::string& over : options.over) {
    if (request.axes.empty() || !options.zip) request.axes.emplace_back();
    request.axes.back().push_back(parse_swept_key(over));
  }
  return request;
}

void run_sweep(const SweepOptions& options) {
  if (options.out == "-") throw InputError("--out -", "expected the name of a file; --csv - prints rows");
  const SweepRequest request = request_of(options);
  const SweepPlan plan = plan_sweep(request);
  if (options.dry_run) {
    fmt::print("{} points\nfirst: {}\nlast:  {}\n", plan.points.size(), shown(plan, plan.points.front()),
               shown(plan, plan.points.back()));
    return;
  }
  struct sigaction stop {};
  stop.sa_handler = [](int) { is_interrupted = 1; };
  sigaction(SIGINT, &stop, nullptr);
  sigaction(SIGTERM, &stop, nullptr);
  const bool is_watched = !options.quiet && isatty(STDERR_FILENO) != 0;
  const auto begin = std::chrono::steady_clock::now();
  const std::vector<SweptPoint> points = sweep(plan, request, [&](const SweepProgress& progress) {
    if (is_watched) show(progress, begin);
    return is_interrupted == 0;
  });
  if (is_watched) fmt::print(stderr, "\n");
  const bool is_kept = options.out != ":memory:";
  if (!options.csv.empty() || (!is_kept && options.json_lines.empty()))
    write_file(options.csv.empty() ? "-" : options.csv, write_csv(plan, points));
  if (!options.json_lines.empty()) write_file(options.json_lines, write_json_lines(plan, points));
  if (is_interrupted != 0)
    throw RunError(is_kept ? "stopped; the same command goes on" : "stopped; with --out FILE it could go on");
  if (std::none_of(points.begin(), points.end(), [](const SweptPoint& p) { return p.result.error.empty(); }))
    throw RunError(
        fmt::format("all {} points failed, the first with: {}", points.size(), points.front().result.error));
}

}  // namespace

void add_sweep_command(CLI::App& app) {
  auto options = std::make_shared<SweepOptions>();
  CLI::App* command =
      app.add_subcommand("sweep", "run every point of a scenario's axes, and keep the results");
  command->add_option("SCENARIO", options->scenario, "scenario file (-: standard input)")->required();
  command
      ->add_option("--over", options->over,
                   "KEY=a,b,c or KEY='8..64 x2' or KEY='0.5..2 step 0.25'; several give the product")
      ->allow_extra_args(false);
  command->add_flag("--zip", options->zip, "the keys of --over change together");
  command->add_option("--set", options->sets, "KEY=VALUE for every point")->allow_extra_args(false);
  command->add_option("--engine", options->engine, "kind of engine");
  command->add_option("--jobs", options->jobs, "points at a time (default: one for each core)")
      ->check(CLI::Range(1U, 4096U));
  command->add_option("--out", options->out, "SQLite file of results; what it has is not run again");
  command->add_option("--csv", options->csv, "a row for each point (-: standard output)");
  command->add_option("--json-lines", options->json_lines, "a line of JSON for each point");
  command->add_flag("--dry-run", options->dry_run, "count the points, show the first and the last");
  command->add_flag("--quiet", options->quiet, "no progress");
  command->callback([options] { run_sweep(*options); });
}

}  // namespace moesim
