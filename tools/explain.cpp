// moesim explain SCENARIO: why its step takes so long, and what each single change of it would bring.
#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <memory>
#include <thread>

#include "models/base/file.hpp"
#include "sim/explain/explain.hpp"
#include "tools/command.hpp"

namespace moesim {
namespace {

struct ExplainOptions {
  CommonOptions common;
  std::string scenario, html;
  std::size_t top = 10;
  unsigned jobs = 0;  ///< 0: one for each core
};

/// A line on a terminal, written over as runs end.
void show(std::size_t done, std::size_t all) {
  fmt::print(stderr, "\r{} of {} runs{}", done, all, done == all ? "\r\x1b[K" : "");
  std::fflush(stderr);
}

void explain(const ExplainOptions& options, const std::string& command_line) {
  const bool shows = !options.common.quiet && ::isatty(STDERR_FILENO) == 1;
  Explanation explanation = moesim::explain(
      {.path = options.scenario,
       .overrides = overrides_of(options.common),
       .jobs = options.jobs > 0 ? options.jobs : std::thread::hardware_concurrency(),
       .sees_files = output_check({.inputs = {{"SCENARIO", options.scenario}},
                                   .outputs = {{"--html", options.html}, {"--out", options.common.out}}}),
       .progress = shows ? show : decltype(ExplainRequest::progress){}});
  explanation.top = options.top;
  Told told = tell(explanation);
  told.command = command_line;
  const std::string text = write(told, options.common.format);
  if (!options.html.empty()) write_file(options.html, write(told, "html"));
  if (options.html != "-" || options.common.out != "-") write_file(options.common.out, text);
}

}  // namespace

void add_explain_command(CLI::App& app, const std::string& command_line) {
  auto options = std::make_shared<ExplainOptions>();
  CLI::App* command = app.add_subcommand("explain", "say why a step takes so long, and try what would help");
  command->add_option("SCENARIO", options->scenario, "scenario file (-: standard input)")->required();
  add_common_options(*command, options->common);
  add_page_option(*command, options->html);
  command->add_option("--top", options->top, "changes of each kind to show as text (10)")
      ->check(CLI::Range(std::size_t{1}, std::size_t{10'000}));
  command->add_option("--jobs", options->jobs, "runs at a time (default: one for each core)")
      ->check(CLI::Range(1U, 4096U));
  command->callback([options, &command_line] { explain(*options, command_line); });
}

}  // namespace moesim
