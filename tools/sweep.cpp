// moesim sweep SCENARIO: every point of a scenario's axes, kept in a file as they come.
#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <map>
#include <memory>
#include <optional>
#include <thread>

#include "models/base/error.hpp"
#include "models/base/file.hpp"
#include "sim/sweep/crew.hpp"
#include "sim/sweep/fleet.hpp"
#include "sim/sweep/measure.hpp"
#include "sim/sweep/sweep.hpp"
#include "sim/sweep/sweep_plot.hpp"
#include "tools/command.hpp"

namespace moesim {
namespace {

struct SweepOptions {
  std::vector<std::string> sets, over, plots;
  std::string scenario, engine, format, out = ":memory:", csv, json_lines, svg, html, command_line;
  bool zip = false, dry_run = false, quiet = false, resume = true;
  unsigned jobs = 0;  ///< 0: one for each core; of a rank, one
};

volatile std::sig_atomic_t is_interrupted = 0;

std::string shown(const SweepPlan& plan, const std::vector<Value>& values) {
  std::string text;
  for (std::size_t i = 0; i < values.size(); ++i)
    text += fmt::format("{}{}={}", i == 0 ? "" : ", ", plan.keys[i], print(values[i]));
  return text;
}

/// Points done, their rate, the time left, and the best so far: on a terminal only.
class Display {
 public:
  Display(const SweepPlan& plan, Measure measure) : plan_(plan), measure_(std::move(measure)) {}

  void show(const SweepProgress& progress, const SweptPoints& points, const std::vector<std::size_t>& fresh) {
    for (const std::size_t point : fresh) compare(points, point);
    const auto now = std::chrono::steady_clock::now();
    if (now - shown_ < std::chrono::milliseconds(100) && progress.done < progress.points) return;
    shown_ = now;
    const double seconds = std::chrono::duration<double>(now - begin_).count();
    const auto done = static_cast<double>(progress.done - progress.found);
    const auto left = static_cast<double>(progress.points - progress.done);
    std::string line = fmt::format("{} of {} points", progress.done, progress.points);
    if (done > 0) line += fmt::format(", {:.1f}/s, {} left", done / seconds, span(left * seconds / done));
    if (best_) line += fmt::format("; best {} {:.4g}: {}", measure_.name, *best_, where_);
    fmt::print(stderr, "\r{}\x1b[K", line.substr(0, columns()));
  }

 private:
  void compare(const SweptPoints& points, std::size_t point) {
    const std::string report = points.of(point).report;
    if (report.empty()) return;
    const std::optional<double> found = measure_.number_in(parse_json(report, "report of a point"));
    if (!found || (best_ && (measure_.more_is_better ? *found <= *best_ : *found >= *best_))) return;
    best_ = found;
    where_ = shown(plan_, plan_.points[point]);
  }
  static std::string span(double seconds) {
    if (seconds < 100) return fmt::format("{:.0f} s", seconds);
    const auto minutes = static_cast<std::int64_t>(seconds / 60 + 0.5);
    return minutes < 100 ? fmt::format("{} min", minutes)
                         : fmt::format("{} h {:02} min", minutes / 60, minutes % 60);
  }
  static std::size_t columns() {
    struct winsize size {};
    const bool is_known = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 20;
    return is_known ? size.ws_col - 1U : 79U;
  }

  const SweepPlan& plan_;
  Measure measure_;
  std::optional<double> best_;
  std::string where_;
  std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now(), shown_{};
};

SweepRequest request_of(const SweepOptions& options, bool is_one_of_several) {
  CommonOptions common;
  common.sets = options.sets;
  common.engine = options.engine;
  const unsigned usual = is_one_of_several ? 1 : std::max(1U, std::thread::hardware_concurrency());
  SweepRequest request{.path = options.scenario,
                       .overrides = overrides_of(common),
                       .axes = {},
                       .jobs = options.jobs > 0 ? options.jobs : usual};
  for (const std::string& over : options.over) {
    if (request.axes.empty() || !options.zip) request.axes.emplace_back();
    request.axes.back().push_back(parse_swept_key(over));
  }
  return request;
}

std::vector<Measure> measures_of(const SweepOptions& options) {
  std::vector<Measure> measures;
  for (const std::string& plot : options.plots) measures.push_back(parse_measure(plot, "--plot"));
  if (measures.empty()) measures.push_back(parse_measure("step_time_s", "--plot"));
  return measures;
}

void listen_for_signals() {
  struct sigaction stop {};
  stop.sa_handler = [](int) { is_interrupted = 1; };
  sigaction(SIGINT, &stop, nullptr);
  sigaction(SIGTERM, &stop, nullptr);
  std::signal(SIGXFSZ, SIG_IGN);  // a limit on the size of files is met as a full disk is
}

/// Whatever was asked for, of the points that are finished.
void write_results(const SweepOptions& options, const SweptPoints& points, bool is_drawn) {
  const bool is_asked = options.out != ":memory:" || !options.csv.empty() || !options.json_lines.empty() ||
                        !options.svg.empty() || !options.html.empty();
  Told told = tell(points);
  told.command = options.command_line;
  std::vector<std::function<void()>> writers;
  const auto add = [&](const std::string& path, const std::string& format) {
    writers.emplace_back([&told, path, format] { write_file(path, write(told, format)); });
  };
  const std::vector<std::string> known = formats({Form::table, Form::json});
  std::map<std::string, std::string> files{{"csv", options.csv}, {"json", options.json_lines}};
  for (const std::string& format : known) {
    if (format == options.format || files[format] == "-") add("-", format);
  }
  if (writers.empty() && !is_asked) add("-", known.front());
  for (const std::string& format : known) {
    if (!files[format].empty() && files[format] != "-") add(files[format], format);
  }
  if (!options.html.empty()) add(options.html, "html");
  if (is_drawn && !options.svg.empty())
    writers.emplace_back([&] { write_file(options.svg, draw_sweep(points, measures_of(options))); });
  do_each(writers);
}

void run_points(const SweepOptions& options, const SweepPlan& plan, Workers& workers) {
  listen_for_signals();
  const bool is_watched = !options.quiet && isatty(STDERR_FILENO) != 0;
  Display display(plan, measures_of(options).front());
  Results results = open_results(plan, options.out);
  SweepProgress last;
  const SweptPoints points =
      sweep(plan, results, workers, [&](const auto& progress, const auto& so_far, const auto& fresh) {
        if (is_watched) display.show(progress, so_far, fresh);
        last = progress;
        return is_interrupted == 0;
      });
  if (is_watched) fmt::print(stderr, "\n");
  const bool have_all_failed = last.failed == last.points;
  // In a picture of a part, points to come would look like failures.
  write_results(options, points, is_interrupted == 0 && !have_all_failed);
  if (is_interrupted != 0)
    throw RunError(options.out != ":memory:" ? "stopped; the same command goes on"
                                             : "stopped; with --out FILE it could go on");
  if (have_all_failed)
    throw RunError(fmt::format("all {} points failed, the first with: {}", last.points, points.of(0).error));
}

void check_files(const SweepOptions& options, const SweepPlan& plan) {
  const SeesFiles check = output_check({.inputs = {{"SCENARIO", options.scenario}},
                                        .outputs = {{"standard output", "-"},
                                                    {"--out", options.out == ":memory:" ? "" : options.out},
                                                    {"--csv", options.csv},
                                                    {"--json-lines", options.json_lines},
                                                    {"--svg", options.svg},
                                                    {"--html", options.html}}});
  if (check) check(files_needed(plan));
}

/// The plan, checked against what is asked of it.
SweepPlan plan_of(const SweepOptions& options, const SweepRequest& request) {
  SweepPlan plan = plan_sweep(request);
  if (!options.svg.empty()) check_drawable(plan);
  check_keys(plan);
  check_files(options, plan);
  return plan;
}

/// As one of several ranks.
void run_as_rank(const SweepOptions& options, const SweepRequest& request) {
  Foreman foreman(request);
  const std::unique_ptr<Ranks> ranks = join_ranks();
  if (ranks->rank() != 0) return serve_fleet(*ranks, foreman);
  Fleet fleet(*ranks, foreman, request.jobs);
  const SweepPlan plan = plan_of(options, request);
  fleet.begin(plan);
  run_points(options, plan, fleet);
}

void run_sweep(const SweepOptions& options) {
  if (options.out == "-") throw InputError("--out -", "expected the name of a file; --csv - prints rows");
  measures_of(options);
  const Launch launched = launch();
  const SweepRequest request = request_of(options, launched.is_one_of_several);
  if (options.dry_run) {
    if (!launched.is_first) return;
    const SweepPlan plan = plan_of(options, request);
    fmt::print("{} points\nfirst: {}\nlast:  {}\n", plan.points.size(), shown(plan, plan.points.front()),
               shown(plan, plan.points.back()));
  } else if (launched.is_one_of_several) {
    run_as_rank(options, request);
  } else {
    const SweepPlan plan = plan_of(options, request);
    Crew crew(plan, request.jobs);
    run_points(options, plan, crew);
  }
}

}  // namespace

void add_sweep_command(CLI::App& app, const std::string& command_line) {
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
  command
      ->add_option("--jobs", options->jobs,
                   "points at a time (default: one for each core; under mpirun one for each rank)")
      ->check(CLI::Range(1U, 4096U));
  command->add_option("--out", options->out, "SQLite file of results; what it has is not run again");
  command->add_flag("--resume", options->resume, "go on with what the file of --out has (always so)");
  add_format_option(*command, options->format, {Form::table, Form::json},
                    ": rows, or lines of JSON, to standard output");
  command->add_option("--csv", options->csv, "a row for each point (-: standard output)");
  command->add_option("--json-lines", options->json_lines, "a line of JSON for each point");
  add_page_option(*command, options->html);
  command->add_option("--svg", options->svg, "a picture: curves over one axis, a heat map over two");
  command
      ->add_option("--plot", options->plots,
                   "what the picture shows, a column or a dotted path in the JSON report (step_time_s); "
                   "several give a picture each, one below the other")
      ->allow_extra_args(false);
  command->add_flag("--dry-run", options->dry_run, "count the points, show the first and the last");
  command->add_flag("--quiet", options->quiet, "no progress");
  command->callback([options, &command_line] {
    options->command_line = command_line;
    run_sweep(*options);
  });
}

}  // namespace moesim
