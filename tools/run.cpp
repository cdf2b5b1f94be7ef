// moesim run SCENARIO: simulates one scenario, prints the report.
#include <chrono>
#include <memory>

#include "models/base/file.hpp"
#include "sim/run/simulate.hpp"
#include "tools/command.hpp"

namespace moesim {
namespace {

struct RunOptions {
  CommonOptions common;
  std::string scenario;
};

void run(const RunOptions& options) {
  const auto start = std::chrono::steady_clock::now();
  const Scenario scenario = load_scenario(options.scenario, overrides_of(options.common));
  Report report = simulate(scenario).report;
  report.wall_seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  const std::string text = options.common.format == "json"  ? write_report_json(report)
                           : options.common.format == "csv" ? write_csv(report)
                                                            : write_text(report);
  write_file(options.common.out, text);
}

}  // namespace

void add_run_command(CLI::App& app) {
  auto options = std::make_shared<RunOptions>();
  CLI::App* command = app.add_subcommand("run", "simulate one scenario and print the report");
  command->add_option("SCENARIO", options->scenario, "scenario file (-: standard input)")->required();
  add_common_options(*command, options->common);
  command->callback([options] { run(*options); });
}

}  // namespace moesim
