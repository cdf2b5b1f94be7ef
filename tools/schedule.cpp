// moesim schedule SCENARIO: the passes of each pipeline rank in time, drawn or listed; or what a layer does.
#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <memory>

#include "models/base/error.hpp"
#include "models/base/file.hpp"
#include "sim/picture/diagram.hpp"
#include "sim/read/scenario.hpp"
#include "sim/report/plan.hpp"
#include "sim/run/simulate.hpp"
#include "sim/write/layer_passes.hpp"
#include "sim/write/order.hpp"
#include "tools/command.hpp"

namespace moesim {
namespace {

struct ScheduleOptions {
  CommonOptions common;
  std::string scenario;
  std::string svg;         ///< file; empty: none
  std::int64_t width = 0;  ///< columns; 0: the terminal's
  bool layer = false;      ///< what each layer does, instead
  bool kernels = false;    ///< and by which kernels
};

/// https://no-color.org: any value but an empty one means no colour.
bool wants_colour(const std::string& out) {
  const char* no_colour = std::getenv("NO_COLOR");
  return out == "-" && ::isatty(STDOUT_FILENO) == 1 && (no_colour == nullptr || *no_colour == '\0');
}

std::int64_t width_of(const ScheduleOptions& options) {
  if (options.width > 0) return options.width;
  winsize size{};
  const bool is_terminal = options.common.out == "-" && ::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0;
  return is_terminal && size.ws_col > 0 ? std::max<std::int64_t>(size.ws_col, narrowest_text)
                                        : TextStyle{}.width;
}

void list_layers(const ScheduleOptions& options, const Value& document, Scenario scenario) {
  if (scenario.fixed) throw InputError(options.scenario, "has passes of given durations: it has no layers");
  LayerListing listing{.about = scenario.about, .title = scenario.words.title, .plan = plan_line(scenario)};
  const Order order = work_of(scenario).order;
  listing.all = layer_passes(std::move(scenario), order);
  listing.kernels = options.kernels;
  write_file(options.common.out,
             write(tell(listing, [&] { return whole_document(document); }), options.common.format));
}

void show_order(const ScheduleOptions& options, const Value& document, const Scenario& scenario) {
  const Simulation simulation = simulate(scenario);
  const Diagram diagram =
      make_diagram(simulation.work.order, simulation.graph, simulation.timeline, simulation.report);
  const TextStyle style{.width = width_of(options), .colour = wants_colour(options.common.out)};
  const Told told = tell(
      diagram.slots, simulation.report, [&] { return whole_document(document); },
      [&] { return draw_text(diagram, style); });
  if (!options.svg.empty()) write_file(options.svg, draw_svg(diagram));
  if (options.svg == "-" && options.common.out == "-") return;
  write_file(options.common.out, write(told, options.common.format));
}

void schedule(const ScheduleOptions& options) {
  if (options.width > 0 && options.common.format != "text")
    throw InputError("--width", fmt::format("is of text, not of {}", options.common.format));
  const SeesFiles check = output_check({.inputs = {{"SCENARIO", options.scenario}},
                                        .outputs = {{"--svg", options.svg}, {"--out", options.common.out}}});
  const Value document = load_document(options.scenario, overrides_of(options.common));
  if (check) check(files_needed(document));
  Scenario scenario = read_scenario(document);
  if (scenario.communication) throw InputError(options.scenario, "is one communication: it has no passes");
  if (options.layer) return list_layers(options, document, std::move(scenario));
  show_order(options, document, scenario);
}

}  // namespace

void add_schedule_command(CLI::App& app) {
  auto options = std::make_shared<ScheduleOptions>();
  CLI::App* command = app.add_subcommand("schedule", "draw or list the passes of each pipeline rank in time");
  command->add_option("SCENARIO", options->scenario, "scenario file (-: standard input)")->required();
  add_common_options(*command, options->common);
  command->add_option("--svg", options->svg, "file for the diagram as SVG");
  command->add_option("--width", options->width, "columns of the drawing (default: the terminal's, else 100)")
      ->check(CLI::Range(narrowest_text, std::int64_t{100'000}));
  CLI::Option* layer =
      command
          ->add_flag("--layer", options->layer,
                     "print what one layer of each shape does instead: computation and communication in "
                     "their order, with times and bytes on one rank")
          ->excludes("--svg", "--width");
  command
      ->add_flag("--kernels", options->kernels,
                 "with --layer: list the kernels of each computation too, op by op (JSON always does)")
      ->needs(layer);
  command->callback([options] { schedule(*options); });
}

}  // namespace moesim
