#include "sim/write/several_text.hpp"

#include <fmt/format.h>

#include "models/base/grouped.hpp"
#include "models/config/values.hpp"
#include "sim/report/fact.hpp"
#include "sim/report/fact_rows.hpp"

namespace moesim {
namespace {

/// With six digits: runs of one scenario differ little.
std::string print_precisely(double seconds) {
  if (seconds >= 1) return fmt::format("{:.6g} s", seconds);
  return seconds >= 1e-3 ? fmt::format("{:.6g} ms", seconds * 1e3) : fmt::format("{:.6g} us", seconds * 1e6);
}

std::string repeat(const Report& report) {
  if (!report.repeat) return {};
  std::string text = fmt::format("\nOver {} seeds, of which the first is above\n", report.repeat->runs);
  text += fmt::format("  {:<12} {:>11} {:>11} {:>11} {:>11} {:>11} {:>11}\n", "", "least", "median", "p90",
                      "p99", "most", "mean");
  const auto row = [&](std::string_view name, const Percentiles& of, auto format) {
    text += fmt::format("  {:<12} {:>11} {:>11} {:>11} {:>11} {:>11} {:>11}\n", name, format(of.least),
                        format(of.median), format(of.p90), format(of.p99), format(of.most), format(of.mean));
  };
  row(fact("step_time_s").label, report.repeat->step_time, print_precisely);
  if (report.repeat->goodput)
    row(fact("goodput.simulated").label, *report.repeat->goodput,
        [](double value) { return print(fact("goodput.simulated"), value_of(value)); });
  return text;
}

std::string print_ratio(double value) { return fmt::format("{:.3f}", value); }

/// What the moving of experts came to, where any moved.
std::string moves(const Report& report) {
  const DriftReport& run = *report.drift;
  if (run.rebalances == 0) return {};
  std::string text = fmt::format("  experts moved {} times, {} in all: {}", print("drift.rebalances", report),
                                 print("drift.moved_bytes", report), print("drift.moving_s", report));
  return text + fmt::format(", of which steps waited for {}, {:.2f} % of the run\n",
                            print("drift.waiting_s", report), 100 * (run.waiting / run.time));
}

std::string drift(const Report& report) {
  if (!report.drift) return {};
  const DriftReport& run = *report.drift;
  std::string text =
      fmt::format("\nOver {} steps, of which the first is above\n", print("drift.steps", report));
  text += fmt::format("  {:<24} {:>11} {:>11} {:>11} {:>11} {:>11} {:>11}\n", "", "least", "p10", "median",
                      "p90", "most", "mean");
  const auto row = [&](std::string_view name, double (*value)(const DriftReport&, const DriftStep&),
                       auto format) {
    const Percentiles of = percentiles_of(over_steps(run, value));
    text += fmt::format("  {:<24} {:>11} {:>11} {:>11} {:>11} {:>11} {:>11}\n", name, format(of.least),
                        format(of.p10), format(of.median), format(of.p90), format(of.most), format(of.mean));
  };
  row(fact("step_time_s").label, seconds_of, print_precisely);
  row("tokens/s", tokens_per_second_of, [](double value) { return grouped(value); });
  row("busiest expert over mean", expert_load_of, print_ratio);
  row("busiest rank over mean", rank_load_of, print_ratio);
  text += fmt::format("  {} tokens/s over the whole run of {}; {} steps differ\n",
                      print("drift.tokens_per_s", report), print("drift.time_s", report),
                      print("drift.simulated", report));
  return text + moves(report);
}

}  // namespace

std::string several_text(const Report& report) { return repeat(report) + drift(report); }

}  // namespace moesim
