// moesim search SCENARIO: the best sizes, schedule and memory choices for a model on a cluster.
#include <fmt/format.h>

#include <memory>
#include <thread>

#include "models/base/at.hpp"
#include "models/base/error.hpp"
#include "models/base/file.hpp"
#include "sim/search/search.hpp"
#include "tools/command.hpp"

namespace moesim {
namespace {

struct SearchOptions {
  CommonOptions common;
  std::string scenario, svg, html;
  std::size_t simulate = 100, top = 10;
  unsigned jobs = 0;  ///< 0: one for each core
};

void search(const SearchOptions& options, const std::string& command_line) {
  const Search found =
      moesim::search({.path = options.scenario,
                      .overrides = overrides_of(options.common),
                      .simulate = options.simulate,
                      .jobs = options.jobs > 0 ? options.jobs : std::thread::hardware_concurrency(),
                      .sees_files = output_check({.inputs = {{"SCENARIO", options.scenario}},
                                                  .outputs = {{"standard output", "-"},
                                                              {"--svg", options.svg},
                                                              {"--html", options.html},
                                                              {"--out", options.common.out}}})});
  const SearchResult& result = found.result;
  if (!options.common.quiet) {
    const auto estimated = result.ranked + at(result.cut, CutRule::memory);
    fmt::print(stderr, "estimated {} candidates in {:.2f} s ({:.0f}/s), simulated {} in {:.2f} s\n",
               estimated, result.estimate_seconds, static_cast<double>(estimated) / result.estimate_seconds,
               result.simulated.size(), result.simulate_seconds);
  }
  const bool is_taken = options.common.out == "-";
  Told told = tell(result, options.top);
  told.command = command_line;
  do_each({[&] { write_file("-", write(told, options.common.format)); },
           [&] {
             if (!options.html.empty()) write_file(options.html, write(told, "html"));
           },
           [&] {
             if (!options.svg.empty() && !result.simulated.empty()) write_file(options.svg, draw_svg(result));
           },
           [&] {
             if (!is_taken && result.fitting > 0)
               write_file(options.common.out, write_json(found.winner) + "\n");
           }});
  if (result.ranked == 0) throw RunError("no candidate is left: every one was cut by a rule");
  if (result.fitting == 0) {
    throw RunError(fmt::format("no simulated plan fits: {}", result.simulated.front().error.empty()
                                                                 ? "all are above the memory limit"
                                                                 : result.simulated.front().error));
  }
}

}  // namespace

void add_search_command(CLI::App& app, const std::string& command_line) {
  auto options = std::make_shared<SearchOptions>();
  CLI::App* command =
      app.add_subcommand("search", "find the best parallelism and schedule for a model on a cluster");
  command->add_option("SCENARIO", options->scenario, "scenario file (-: standard input)")->required();
  add_common_options(*command, options->common);
  command->get_option("--out")->description("file for the scenario of the winner");
  command->add_option("--simulate", options->simulate, "plans to simulate, the best of the estimate (100)")
      ->check(CLI::Range(std::size_t{1}, std::size_t{100'000}));
  command->add_option("--svg", options->svg, "a picture of time against memory");
  add_page_option(*command, options->html);
  command->add_option("--top", options->top, "plans to show as text (10)")
      ->check(CLI::Range(std::size_t{1}, std::size_t{100'000}));
  command->add_option("--jobs", options->jobs, "threads (default: one for each core)")
      ->check(CLI::Range(1U, 4096U));
  command->callback([options, &command_line] { search(*options, command_line); });
}

}  // namespace moesim
