// moesim run SCENARIO: simulates one scenario, prints the report.
#include <fmt/format.h>

#include <chrono>
#include <memory>
#include <thread>

#include "models/base/file.hpp"
#include "sim/run/repeat.hpp"
#include "sim/write/trace.hpp"
#include "tools/command.hpp"

namespace moesim {
namespace {

struct RunOptions {
  CommonOptions common;
  std::string scenario;
  std::string trace;    ///< file; empty: none
  unsigned repeat = 0;  ///< 0: as the scenario says
  unsigned jobs = 0;    ///< 0: one for each core
};

void run(const RunOptions& options) {
  const auto start = std::chrono::steady_clock::now();
  RunRequest request{
      .path = options.scenario,
      .overrides = overrides_of(options.common),
      .jobs = options.jobs > 0 ? options.jobs : std::thread::hardware_concurrency(),
      .sees_files = output_check({.inputs = {{"SCENARIO", options.scenario}},
                                  .outputs = {{"--trace", options.trace}, {"--out", options.common.out}}})};
  if (options.repeat > 0)
    request.overrides.push_back(parse_override(fmt::format("repeat={}", options.repeat)));
  auto [scenario, simulation, document] = moesim::run(request);
  Report& report = simulation.report;
  report.wall_seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  if (options.common.format == "json") report.scenario = one_line(whole_document(std::move(document)));
  const std::string text = options.common.format == "json"  ? write_report_json(report)
                           : options.common.format == "csv" ? write_csv(report)
                                                            : write_text(report);
  if (!options.trace.empty()) {
    const Tracks tracks = tracks_of(scenario, simulation.graph, simulation.timeline);
    const std::string title = report.title.empty() ? report.plan : report.title + ": " + report.plan;
    write_file(options.trace, write_trace(title, tracks, simulation.graph, simulation.timeline));
  }
  const bool is_taken = options.trace == "-" && options.common.out == "-";
  if (!is_taken) write_file(options.common.out, text);
}

}  // namespace

void add_run_command(CLI::App& app) {
  auto options = std::make_shared<RunOptions>();
  CLI::App* command = app.add_subcommand("run", "simulate one scenario and print the report");
  command->add_option("SCENARIO", options->scenario, "scenario file (-: standard input)")->required();
  add_common_options(*command, options->common);
  command->add_option("--trace", options->trace, "file for a Chrome trace, which Perfetto opens");
  command->add_option("--repeat", options->repeat, "runs with seeds of their own, for percentiles")
      ->check(CLI::Range(1U, 100'000U));
  command->add_option("--jobs", options->jobs, "runs at a time with --repeat (default: one for each core)")
      ->check(CLI::Range(1U, 4096U));
  command->callback([options] { run(*options); });
}

}  // namespace moesim
