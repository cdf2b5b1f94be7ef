// The report for people: where the step's time goes, top down.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "models/base/at.hpp"
#include "models/base/grouped.hpp"
#include "models/config/values.hpp"
#include "models/cost/power.hpp"
#include "sim/report/fact.hpp"
#include "sim/scenario/certainty.hpp"
#include "sim/write/report.hpp"
#include "sim/write/several_text.hpp"

namespace moesim {
namespace {

std::string bar(double share) {
  return std::string(static_cast<std::size_t>(std::lround(std::clamp(share, 0.0, 1.0) * 40)), '#');
}

std::string without_end(std::string line) {
  line.erase(line.find_last_not_of(' ') + 1);
  return line + "\n";
}

/// "17.9 to 19.8 s", with the unit once where it is the same.
std::string range(const std::string& low, const std::string& high) {
  const auto unit_of = [](const std::string& text) { return text.substr(text.rfind(' ') + 1); };
  if (unit_of(low) != unit_of(high)) return fmt::format("{} to {}", low, high);
  return fmt::format("{} to {}", low.substr(0, low.rfind(' ')), high);
}

std::string header(const Report& report) {
  std::string text = report.title.empty() ? std::string() : report.title + "\n";
  text += report.plan + "\n\n";
  if (!report.memory.empty() && !report.fits())
    text += fmt::format("  DOES NOT FIT   {} of {} device memory\n", print("memory.peak", report),
                        print("memory.capacity", report));
  text += fmt::format("  step time      {}", print("step_time_s", report));
  if (report.expected_error)
    text += fmt::format(" ({})", range(print("step_time_low_s", report), print("step_time_high_s", report)));
  text += "\n";
  if (report.tokens == 0) return text;
  const auto billions = [](std::int64_t count) { return static_cast<double>(count) / 1e9; };
  text += fmt::format(
      "  model          {}: {:.4g} billion parameters, {:.4g} active per token, {:.4g} without the input "
      "embedding\n",
      report.model.name, billions(report.model.parameters), billions(report.model.active),
      billions(report.model.active_without_embedding));
  text += fmt::format("  throughput     {} tokens/s, {} per device on {} devices\n",
                      print("tokens_per_s", report), print("tokens_per_s_per_device", report),
                      grouped(static_cast<double>(report.devices)));
  const bool is_whole = report.mfu_attention == MfuAttention::whole;
  text += fmt::format("  compute        {} per device, {} {} of {} (bf16), {} per token{}\n",
                      print("tflops_per_device", report), fact("mfu").label, print("mfu", report),
                      print(report.peak), print("model_flops_per_token", report),
                      is_whole ? " with whole attention" : "");
  return text;
}

/// Of the step.
constexpr double worth_a_hint = 0.02;

std::string breakdown(const Report& report) {
  std::string text = "\nWhere the time goes, mean over devices\n";
  const auto row = [&](std::string_view name, Time time) {
    const double share = time / report.step_time;
    text += without_end(fmt::format("  {:<22} {:>10} {:>6.1f} %  {}", fact(name).label, print(name, report),
                                    100 * share, bar(share)));
  };
  row("compute_s", report.breakdown.compute);
  row("exposed_communication_s", report.breakdown.exposed_communication);
  row("bubble_s", report.breakdown.bubble);
  row("optimizer_s", report.breakdown.optimizer);
  if (report.breakdown.host.count > 0) row("host_s", report.breakdown.host);
  if (report.breakdown.host / report.step_time > worth_a_hint)
    text +=
        "  The device waits for the host: larger microbatches, fewer kernels and results to read, or CUDA "
        "graphs "
        "help.\n";
  if (report.pipeline_ranks.empty()) return text;
  text += "\nPasses, with the exchanges that they wait for\n";
  if (report.passes.overlapped.count > 0) row("passes_s.overlapped", report.passes.overlapped);
  row("passes_s.forward", report.passes.forward);
  row("passes_s.backward", report.passes.backward);
  if (report.passes.backward_weight.count > 0) row("passes_s.backward_weight", report.passes.backward_weight);
  return text;
}

std::string pipeline(const Report& report) {
  if (report.pipeline_ranks.empty()) return {};
  std::int64_t in_flight = 0;
  for (const PipelineRankReport& stage : report.pipeline_ranks)
    in_flight = std::max(in_flight, stage.peak_microbatches_in_flight);
  if (report.pipeline_ranks.size() == 1) {
    return fmt::format(
        "\nPipeline: one rank, passes end at {}, bubble {}; at most {} microbatches in flight\n",
        print("makespan_s", report), print("bubble_mean", report), in_flight);
  }
  return fmt::format(
      "\nPipeline: {} ranks, passes end at {}, bubble {} of a rank's span in the mean, {} of the slowest's, "
      "{} "
      "at most; at most {} microbatches in flight\n",
      report.pipeline_ranks.size(), print("makespan_s", report), print("bubble_mean", report),
      print("bubble_fraction", report), print("bubble_most", report), in_flight);
}

/// What devices wait for peers at exchanges, where they come to them one after the other.
std::string waiting(const Report& report) {
  std::string text;
  for (const Activity activity : communications) {
    const Time time = at(report.communications, activity).waiting;
    if (time.count > 0)
      text += fmt::format("{} {} {}", text.empty() ? "" : ",", name_of(activity), print(time));
  }
  return text.empty() ? text : fmt::format("  before it, waiting for peers:{}\n", text);
}

std::string communication(const Report& report) {
  std::string rows;
  for (const Activity activity : communications) {
    const CommunicationReport& phase = at(report.communications, activity);
    if (phase.messages == 0) continue;
    rows +=
        fmt::format("  {:<18} {:>10} {:>14} {:>10} {:>10}\n", name_of(activity), print(Bytes{phase.bytes}),
                    grouped(static_cast<double>(phase.messages)), print(phase.busy), print(phase.exposed));
  }
  if (rows.empty()) return {};
  return fmt::format("\n{:<20} {:>10} {:>14} {:>10} {:>10}\n", "Communication", "bytes", "messages", "busy",
                     "exposed") +
         rows + waiting(report);
}

/// A quantity, or nothing where there is none.
template <class Quantity>
std::string or_blank(Quantity quantity) {
  return quantity.count == 0 ? std::string() : print(quantity);
}

/// The eight steps are numbered; what follows them is not.
std::string steps(const Report& report) {
  if (report.steps.empty()) return {};
  std::string text = fmt::format("\n{:<28} {:>10} {:>14} {:>10} {:>10}\n", "Steps of training", "compute",
                                 "communication", "exposed", "bytes");
  int number = 0;
  std::string_view before;
  for (const StepReport& row : report.steps) {
    const bool begins = row.step != before && ++number <= 8;
    before = row.step;
    text += without_end(fmt::format(
        "  {} {:<24} {:>10} {:>14} {:>10} {:>10}", begins ? fmt::to_string(number) : " ",
        row.part.empty() ? row.step : fmt::format("{}: {}", row.step, row.part), or_blank(row.compute),
        or_blank(row.communication), or_blank(row.exposed), or_blank(Bytes{row.bytes})));
  }
  return text;
}

std::string kernels(const Report& report) {
  const auto line = [&](std::string_view name, const std::string& time, const std::string& bytes,
                        const std::string& launches, const std::string& energy) {
    return without_end(
        fmt::format("{:<20} {:>10} {:>14} {:>10} {:>10}", name, time, bytes, launches, energy));
  };
  std::string rows;
  for (std::size_t i = 0; i < kernel_class_count; ++i) {
    const KernelReport& row = report.kernels[i];
    if (row.time.count == 0) continue;
    rows += row.launches == 0
                ? line("  gaps between", print(row.time), {}, {}, {})
                : line(fmt::format("  {}", kernel_class_names[i]), print(row.time), print(row.bytes),
                       grouped(static_cast<double>(row.launches)), report.power ? print(row.energy) : "");
  }
  if (rows.empty()) return {};
  return "\n" + line("Kernels of a device", "time", "bytes", "launches", report.power ? "energy" : "") + rows;
}

/// Why a device has not the full clock.
std::string why_slowed(const PowerReport& of, const std::string& limit) {
  constexpr double near_limit = 0.005;  // of the mean power, to which clocks settle
  if (std::abs(of.held / of.limit - 1) <= near_limit)
    return fmt::format("the mean power is at its limit of {}", limit);
  if (of.clock <= lowest_clock)
    return fmt::format("the lowest, at which it still draws {} of the {} it may", print(of.held), limit);
  return fmt::format("soon after a rest, with a mean power of {} before the limit of {} holds it",
                     print(of.held), limit);
}

std::string energy(const Report& report) {
  if (!report.power) return {};
  const PowerReport& of = *report.power;
  std::string text = "\nEnergy of devices\n";
  text += fmt::format("  a step         {}, {} a token\n", print("energy.joules", report),
                      print("energy.joules_per_token", report));
  text += fmt::format("  a device       {} in the mean, of which {} idle and {} for what it sends\n",
                      print(of.mean), print(of.idle_power), print(of.communication / report.step_time));
  if (of.clock == 1) return text;
  const std::string of_full = fmt::format("{} of the full one", print("energy.clock", report));
  const std::string clock = of.cycle.count == 0
                                ? of_full
                                : fmt::format("{} of {} MHz", print("energy.clock_mhz", report),
                                              grouped(1e-6 / to_seconds(of.cycle)));
  const double cost = of.limit_cost / report.step_time;
  text += fmt::format("  clock          {}: {}, which costs {} of the step ({:.1f} %)\n", clock,
                      why_slowed(of, print("energy.limit_w", report)), print("energy.limit_cost_s", report),
                      100 * cost);
  if (cost > worth_a_hint)
    text +=
        "  The power limit holds the clock down: less to compute or to move helps (recomputation, fp8); less "
        "waiting, in which devices cool, helps by less than its time.\n";
  return text;
}

std::string links(const Report& report) {
  if (report.link_classes.empty()) return {};
  std::string text = fmt::format("\n{:<20} {:>10} {:>14} {:>10}\n", "Links", "bytes", "mean use", "most use");
  for (const LinkClassReport& row : report.link_classes) {
    text += fmt::format("  {:<18} {:>10} {:>12.1f} % {:>8.1f} %\n", at(link_class_names, row.link_class),
                        print(Bytes{row.bytes}), 100 * row.mean_utilization, 100 * row.max_utilization);
  }
  return text;
}

std::string routing(const Report& report) {
  if (!report.routing) return {};
  const RoutingReport& routing = *report.routing;
  const double most =
      routing.imbalance_cost ? static_cast<double>(routing.most) / routing.mean : routing.load_max_over_mean;
  std::string text = fmt::format(
      "\nRouting: an expert gets {} tokens of its group's microbatches on average, at most {:.3f} times "
      "that; {} {}\n",
      print("routing.per_expert_tokens.mean", report), most, print("dropped_token_fraction", report),
      fact("dropped_token_fraction").label);
  if (routing.padded_row_fraction > 0) {
    text +=
        fmt::format("  {} of the rows that are sent and computed are {}\n",
                    print("routing.padded_row_fraction", report), fact("routing.padded_row_fraction").label);
  }
  if (routing.imbalance_cost) {
    text += fmt::format(
        "  the busiest rank of an expert group gets {} times the mean; uneven loads cost {} of the step "
        "({:.1f} %)\n",
        print("routing.rank_load_max_over_mean", report), print("imbalance_cost_s", report),
        100 * (*routing.imbalance_cost / report.step_time));
  } else if (routing.rank_load_max_over_mean > 1) {
    text += "  (times are those of the busiest rank of each expert group: the others wait for it)\n";
  }
  return text;
}

std::string memory(const Report& report) {
  if (report.memory.empty()) return {};
  std::string text =
      fmt::format("\n{:<8} {:>11} {:>10} {:>10} {:>12} {:>10} {:>10} {:>10} {:>10}\n", "Memory", "parameters",
                  "gradients", "optimizer", "activations", "buffers", "driver", "channels", "total");
  for (std::size_t rank = 0; rank < report.memory.size(); ++rank) {
    const MemoryReport& row = report.memory[rank];
    text += fmt::format("  {:<6} {:>11} {:>10} {:>10} {:>12} {:>10} {:>10} {:>10} {:>10}\n",
                        fmt::format("rank {}", rank).substr(0, 8), print(row.parameters),
                        print(row.gradients), print(row.optimizer), print(row.activations),
                        print(row.buffers), print(row.driver), print(row.channels), print(row.total()));
  }
  return text + fmt::format("  {} of {}: {}\n", print("memory.peak", report),
                            print("memory.capacity", report), report.fits() ? "fits" : "DOES NOT FIT");
}

std::string critical(const Report& report) {
  std::string text = "\nCritical path:";
  for (std::size_t i = 0; i < report.critical_path.size(); ++i) {
    text += fmt::format("{} {} {:.1f} %", i == 0 ? "" : ",", report.critical_path[i].kind,
                        100 * report.critical_path[i].share);
  }
  return text + "\n";
}

/// Sources that add less than this to the step's deviation are left out.
constexpr double worth_a_word = 0.001;

std::string expected_error(const Report& report) {
  if (!report.expected_error && report.draws > 0)
    return "\nExpected error: none, since nothing was measured of half of the step's time or more\n";
  if (!report.expected_error) return {};
  const ExpectedError& error = *report.expected_error;
  std::string text =
      fmt::format("\nExpected error, of bars that hold {:g} % of measured steps:", 100 * bar_level);
  bool is_first = true;
  for (const ErrorSource& source : error.sources) {
    if (source.deviation < worth_a_word && !is_first) break;
    text += fmt::format("{} {} {:.1f} %", is_first ? "" : ",", source.of, 100 * source.deviation);
    is_first = false;
  }
  if (error.known_share < 0.995)
    text += fmt::format("; {} of the step has known errors", print("expected_error.known_share", report));
  if (error.draws > 0) text += fmt::format("; {} draws", print("expected_error.draws", report));
  return text + "\n";
}

std::string goodput(const Report& report) {
  if (!report.goodput) return {};
  const GoodputReport& of = *report.goodput;
  std::string text = fmt::format("\nGoodput, with a checkpoint every {} steps, {} of work\n",
                                 print("goodput.steps_between_checkpoints", report),
                                 print("goodput.checkpoint_interval_s", report));
  text += fmt::format("  simulated      {} of {}, {} failures\n", print("goodput.simulated", report),
                      print("goodput.run_s", report), print("goodput.failures", report));
  if (of.mean_between_s > 0) {
    const auto best = [&](std::string_view interval, std::string_view goodput_there) {
      return fmt::format("{} ({})", print(interval, report), print(goodput_there, report));
    };
    text +=
        fmt::format("  expected       {} (Daly 2006), one failure every {}\n",
                    print("goodput.expected", report), print("goodput.mean_time_between_failures_s", report));
    text += fmt::format("  best interval  {} by Young 1974, {} by Daly 2006\n",
                        best("goodput.young_interval_s", "goodput.expected_at_young_interval"),
                        best("goodput.daly_interval_s", "goodput.expected_at_daly_interval"));
  }
  if (report.tokens > 0)
    text += fmt::format("  throughput     {} tokens/s in the long run\n",
                        grouped(of.simulated * report.tokens_per_second()));
  return text;
}

std::string budget(const Report& report) {
  if (!report.budget) return {};
  if (!report.budget->wall_clock)
    return fmt::format("\nTraining on {} tokens: never ends, at a goodput of {}\n",
                       print("budget.tokens", report), print("goodput.simulated", report));
  std::string text = fmt::format(
      "\nTraining on {} tokens: {} steps, {} on {} devices{}\n", print("budget.tokens", report),
      print("budget.steps", report), print("budget.wall_clock_s", report),
      grouped(static_cast<double>(report.devices)),
      report.goodput ? fmt::format(", at a goodput of {}", print("goodput.simulated", report)) : "");
  text += fmt::format("  devices        {}", print("budget.device_hours", report));
  if (report.budget->device_cost)
    text += fmt::format(" at a cost of {}", print("budget.device_cost", report));
  text += "\n";
  if (report.budget->kwh) {
    text += fmt::format("  energy         {}", print("budget.kwh", report));
    if (report.budget->energy_cost)
      text += fmt::format(" at a cost of {}", print("budget.energy_cost", report));
    if (report.budget->carbon_kg)
      text += fmt::format("; {} of carbon dioxide", print("budget.carbon_kg", report));
    text += "\n";
  }
  if (report.budget->cost) text += fmt::format("  cost           {}\n", print("budget.cost", report));
  return text;
}

}  // namespace

std::string report_text(const Report& report) {
  return header(report) + breakdown(report) + pipeline(report) + steps(report) + kernels(report) +
         energy(report) + communication(report) + links(report) + routing(report) + memory(report) +
         critical(report) + expected_error(report) + goodput(report) + budget(report) + several_text(report) +
         fmt::format("\nEngine {}: {} {}, {} {}, fingerprint {}\n", report.engine,
                     print("engine.tasks", report), fact("engine.tasks").label,
                     print("engine.events", report), fact("engine.events").label, report.fingerprint);
}

}  // namespace moesim
