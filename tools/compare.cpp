// moesim compare SCENARIO --over KEY=a,b,c: one scenario with each value of a key, in one table.
#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <thread>

#include "models/base/error.hpp"
#include "models/base/file.hpp"
#include "sim/run/compare.hpp"
#include "tools/command.hpp"

namespace moesim {
namespace {

struct CompareOptions {
  CommonOptions common;
  std::string scenario;
  std::vector<std::string> over;
  std::string html;     ///< file; empty: none
  std::string columns;  ///< names of facts; empty: the usual ones
  unsigned jobs = 0;    ///< 0: one for each core
};

void compare(const CompareOptions& options, const std::string& command_line) {
  CompareRequest request{
      .path = options.scenario,
      .overrides = overrides_of(options.common),
      .keys = {},
      .jobs = options.jobs > 0 ? options.jobs : std::thread::hardware_concurrency(),
      .sees_files = output_check({.inputs = {{"SCENARIO", options.scenario}},
                                  .outputs = {{"--html", options.html}, {"--out", options.common.out}}})};
  for (const std::string& over : options.over) request.keys.push_back(parse_varied_key(over));
  std::vector<const Fact*> columns;
  if (!options.columns.empty()) columns = facts_named(options.columns, "--columns");
  Comparison comparison = moesim::compare(request);
  comparison.columns = std::move(columns);
  Told told = tell(comparison);
  told.command = command_line;
  const std::string text = write(told, options.common.format);
  if (!options.html.empty()) write_file(options.html, write(told, "html"));
  if (options.html != "-" || options.common.out != "-") write_file(options.common.out, text);
  if (!comparison.best)
    throw RunError(fmt::format("no run finished; the first: {}", comparison.runs.front().error));
}

}  // namespace

void add_compare_command(CLI::App& app, const std::string& command_line) {
  auto options = std::make_shared<CompareOptions>();
  CLI::App* command =
      app.add_subcommand("compare", "run a scenario with each value of some keys, in one table");
  command->add_option("SCENARIO", options->scenario, "scenario file (-: standard input)")->required();
  command->add_option("--over", options->over, "KEY=a,b,c: the values of a key; several give the product")
      ->required()
      ->allow_extra_args(false);
  add_common_options(*command, options->common);
  add_page_option(*command, options->html);
  command->add_option("--columns", options->columns,
                      "NAME,NAME,...: what to show of each run, by names of columns or dotted paths of the "
                      "JSON report (default: the main figures)");
  command->add_option("--jobs", options->jobs, "runs at a time (default: one for each core)")
      ->check(CLI::Range(1U, 4096U));
  command->callback([options, &command_line] { compare(*options, command_line); });
}

}  // namespace moesim
