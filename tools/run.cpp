// moesim run SCENARIO: simulates one scenario, prints the report.
#include <fmt/format.h>

#include <chrono>
#include <map>
#include <memory>
#include <thread>

#include "models/base/file.hpp"
#include "sim/run/repeat.hpp"
#include "sim/write/report.hpp"
#include "tools/command.hpp"

namespace moesim {
namespace {

struct RunOptions {
  CommonOptions common;
  std::string scenario;
  std::map<std::string, std::string> files;  ///< by the format that each is written in; empty: none
  unsigned repeat = 0;                       ///< 0: as the scenario says
  unsigned certainty = 0;                    ///< 0: as the scenario says
  unsigned jobs = 0;                         ///< 0: one for each core
};

RunRequest request_of(const RunOptions& options) {
  CommandFiles files{.inputs = {{"SCENARIO", options.scenario}}, .outputs = {}};
  for (const auto& [format, path] : options.files) files.outputs.push_back({"--" + format, path});
  files.outputs.push_back({"--out", options.common.out});
  RunRequest request{.path = options.scenario,
                     .overrides = overrides_of(options.common),
                     .jobs = options.jobs > 0 ? options.jobs : std::thread::hardware_concurrency(),
                     .sees_files = output_check(files)};
  if (options.repeat > 0)
    request.overrides.push_back(parse_override(fmt::format("repeat={}", options.repeat)));
  if (options.certainty > 0)
    request.overrides.push_back(parse_override(fmt::format("certainty.draws={}", options.certainty)));
  return request;
}

void run(const RunOptions& options, const std::string& command_line) {
  const auto start = std::chrono::steady_clock::now();
  CompletedRun done = moesim::run(request_of(options));
  Report& report = done.simulation.report;
  report.wall_seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  Told told = tell({done.simulation.work, done.simulation.graph, done.simulation.timeline, report},
                   [&] { return whole_document(done.document); });
  told.command = command_line;
  const std::string text = write(told, options.common.format);
  bool is_taken = false;  // standard output, by another file
  for (const auto& [format, path] : options.files) {
    if (!path.empty()) write_file(path, write(told, format));
    is_taken = is_taken || (path == "-" && options.common.out == "-");
  }
  if (!is_taken) write_file(options.common.out, text);
}

}  // namespace

void add_run_command(CLI::App& app, const std::string& command_line) {
  auto options = std::make_shared<RunOptions>();
  CLI::App* command = app.add_subcommand("run", "simulate one scenario and print the report");
  command->add_option("SCENARIO", options->scenario, "scenario file (-: standard input)")->required();
  add_common_options(*command, options->common);
  for (const std::string& format : formats({Form::run, Form::page})) {
    command->add_option("--" + format, options->files[format],
                        fmt::format("file for a {}", sentence_of(format)));
  }
  command->add_option("--repeat", options->repeat, "runs with seeds of their own, for percentiles")
      ->check(CLI::Range(1U, 100'000U));
  command
      ->add_option("--certainty", options->certainty,
                   "draws of the errors of all times for the expected error, each run again (default: to "
                   "first order)")
      ->check(CLI::Range(20U, 100'000U));
  command
      ->add_option(
          "--jobs", options->jobs,
          "runs at a time with --repeat and --certainty, or steps with routing.drift (default: one for each "
          "core)")
      ->check(CLI::Range(1U, 4096U));
  command->callback([options, &command_line] { run(*options, command_line); });
}

}  // namespace moesim
