#include "sim/report/fact.hpp"

#include <algorithm>
#include <array>

#include "models/base/error.hpp"
#include "models/config/values.hpp"
#include "sim/report/fact_rows.hpp"
#include "sim/report/fact_ways.hpp"
#include "sim/scenario/certainty.hpp"

namespace moesim {
namespace {

template <MfuAttention attention>
Value mfu_counting(const Report& report) {
  return report.tokens > 0 ? value_of(report.mfu(attention)) : Value{};
}

using enum Unit;
using enum Better;

Value mfu(const Report& report) { return report.tokens > 0 ? value_of(report.mfu()) : Value{}; }

Value counted_attention(const Report& report) {
  const auto attention = static_cast<std::size_t>(report.mfu_attention);
  return report.tokens > 0 ? value_of(mfu_attention_names[attention]) : Value{};
}

Value flops_per_token(const Report& report) {
  return report.tokens > 0 ? value_of(report.model_flops_per_token().count) : Value{};
}

Value teraflops_per_device(const Report& report) {
  return report.tokens > 0 ? value_of(report.flops_per_device().count / 1e12) : Value{};
}

Value tasks_of(const Scenario&, const TaskGraph& graph, const Timeline&) { return value_of(graph.size()); }

Value held_up(const Report& report) {
  return report.breakdown.host.count > 0 ? told(report.breakdown.host) : Value{};
}

Value level_of_bars(const Report& report) { return report.expected_error ? value_of(bar_level) : Value{}; }

Value largest_error(const Report& report) {
  return report.expected_error ? value_of(report.expected_error->sources.front().of) : Value{};
}

Value drawn_errors(const Report& report) {
  const bool are_drawn = report.expected_error && report.expected_error->draws > 0;
  return are_drawn ? value_of(report.expected_error->draws) : Value{};
}

Value joules_per_token(const Report& report) {
  if (!report.power) return {};
  const double tokens_per_device = static_cast<double>(report.tokens) / static_cast<double>(report.devices);
  return value_of(report.power->energy.count / tokens_per_device);
}

Value clock_mhz(const Report& report) {
  if (!report.power || report.power->cycle.count == 0) return {};
  return value_of(1e-6 * report.power->clock / to_seconds(report.power->cycle));
}

Value events_of(const Scenario&, const TaskGraph&, const Timeline& timeline) {
  return value_of(timeline.events);
}

// In the order of the JSON report.
constexpr std::array table{
    Fact{"step_time_s", "step time", seconds, lower, at<&Report::step_time>},
    Fact{"parameters.total", "parameters", count, neither,
         of_model<&Report::model, &ModelReport::parameters>},
    Fact{"parameters.active", "parameters active per token", count, neither,
         of_model<&Report::model, &ModelReport::active>},
    Fact{"parameters.active_without_embedding", "the same without the input embedding", count, neither,
         of_model<&Report::model, &ModelReport::active_without_embedding>},
    Fact{"tokens_per_s", "tokens per s", Unit::tokens_per_s, higher, of_model<&Report::tokens_per_second>},
    Fact{"tokens_per_s_per_device", "tokens/s per device", Unit::tokens_per_s, higher,
         of_model<&Report::tokens_per_second_per_device>},
    Fact{"model_flops_per_token", "model flops per token", Unit::flops, neither, flops_per_token},
    Fact{"tflops_per_device", "tflops per device", Unit::teraflops, higher, teraflops_per_device},
    Fact{"mfu", "MFU", share, higher, mfu, {}, {}, 1},
    Fact{"mfu_attention", "what MFU counts of attention", Unit::text, neither, counted_attention},
    Fact{"mfu_causal", "mfu causal", share, higher, mfu_counting<MfuAttention::causal>, {}, {}, 1},
    Fact{"mfu_whole", "mfu whole", share, higher, mfu_counting<MfuAttention::whole>, {}, {}, 1},
    Fact{"pipeline.makespan_s", "end of the passes", seconds, lower, at<&Report::makespan>, "makespan_s"},
    Fact{"pipeline.bubble_fraction", "bubble of the slowest rank", share, lower, at<&Report::bubble_fraction>,
         "bubble_fraction"},
    Fact{"pipeline.makespan_bubble_fraction", "bubble of the slowest rank up to the end of all passes", share,
         lower, at<&Report::makespan_bubble_fraction>},
    Fact{"pipeline.bubble_mean", "bubble, mean over ranks", share, lower, at<&Report::bubble_mean>,
         "bubble_mean", "bubble"},
    Fact{"pipeline.bubble_most", "bubble of the most idle rank", share, lower, at<&Report::bubble_most>,
         "bubble_most"},
    Fact{"pipeline.bubble_s", "time of the slowest rank's bubble", seconds, lower, at<&Report::bubble>},
    Fact{"pipeline.per_stage", "pipeline ranks", rows, neither, rows_of_stages},
    Fact{"breakdown_s.compute", "compute", seconds, lower, at<&Report::breakdown, &Breakdown::compute>,
         "compute_s"},
    Fact{"breakdown_s.exposed_communication", "exposed communication", seconds, lower,
         at<&Report::breakdown, &Breakdown::exposed_communication>, "exposed_communication_s",
         "exposed comm."},
    Fact{"breakdown_s.bubble", "bubble", seconds, lower, at<&Report::breakdown, &Breakdown::bubble>,
         "bubble_s"},
    Fact{"breakdown_s.optimizer", "optimizer", seconds, lower, at<&Report::breakdown, &Breakdown::optimizer>,
         "optimizer_s"},
    Fact{"breakdown_s.host", "held up by the host", seconds, lower, held_up, "host_s", "host"},
    Fact{"passes_s.forward", "forward alone", seconds, neither, at<&Report::passes, &PassBreakdown::forward>},
    Fact{"passes_s.backward", "backward alone", seconds, neither,
         at<&Report::passes, &PassBreakdown::backward>},
    Fact{"passes_s.backward_weight", "weight gradient alone", seconds, neither,
         at<&Report::passes, &PassBreakdown::backward_weight>},
    Fact{"passes_s.overlapped", "overlapped F and B", seconds, neither,
         at<&Report::passes, &PassBreakdown::overlapped>},
    Fact{"kernels.products.time_s", "matrix products", seconds, lower,
         of_kernels<KernelClass::products, &KernelReport::time>, "products_s", "products"},
    Fact{"kernels.products.bytes", "bytes of matrix products", bytes, lower,
         of_kernels<KernelClass::products, &KernelReport::bytes>},
    Fact{"kernels.products.launches", "launches of matrix products", count, lower,
         of_kernels<KernelClass::products, &KernelReport::launches>},
    Fact{"kernels.products.joules", "energy of matrix products", Unit::joules, lower,
         energy_of_kernels<KernelClass::products>},
    Fact{"kernels.grouped.time_s", "products of experts", seconds, lower,
         of_kernels<KernelClass::grouped, &KernelReport::time>, "grouped_s", "experts"},
    Fact{"kernels.grouped.bytes", "bytes of products of experts", bytes, lower,
         of_kernels<KernelClass::grouped, &KernelReport::bytes>},
    Fact{"kernels.grouped.launches", "launches of products of experts", count, lower,
         of_kernels<KernelClass::grouped, &KernelReport::launches>},
    Fact{"kernels.grouped.joules", "energy of products of experts", Unit::joules, lower,
         energy_of_kernels<KernelClass::grouped>},
    Fact{"kernels.attention.time_s", "attention kernels", seconds, lower,
         of_kernels<KernelClass::attention, &KernelReport::time>, "attention_s", "attention"},
    Fact{"kernels.attention.bytes", "bytes of attention kernels", bytes, lower,
         of_kernels<KernelClass::attention, &KernelReport::bytes>},
    Fact{"kernels.attention.launches", "launches of attention kernels", count, lower,
         of_kernels<KernelClass::attention, &KernelReport::launches>},
    Fact{"kernels.attention.joules", "energy of attention kernels", Unit::joules, lower,
         energy_of_kernels<KernelClass::attention>},
    Fact{"kernels.streaming.time_s", "streaming kernels", seconds, lower,
         of_kernels<KernelClass::streaming, &KernelReport::time>, "streaming_s", "streaming"},
    Fact{"kernels.streaming.bytes", "bytes of streaming kernels", bytes, lower,
         of_kernels<KernelClass::streaming, &KernelReport::bytes>},
    Fact{"kernels.streaming.launches", "launches of streaming kernels", count, lower,
         of_kernels<KernelClass::streaming, &KernelReport::launches>},
    Fact{"kernels.streaming.joules", "energy of streaming kernels", Unit::joules, lower,
         energy_of_kernels<KernelClass::streaming>},
    Fact{"kernels.gather_scatter.time_s", "gathers and scatters", seconds, lower,
         of_kernels<KernelClass::gather_scatter, &KernelReport::time>, "gather_scatter_s", "gathers"},
    Fact{"kernels.gather_scatter.bytes", "bytes of gathers and scatters", bytes, lower,
         of_kernels<KernelClass::gather_scatter, &KernelReport::bytes>},
    Fact{"kernels.gather_scatter.launches", "launches of gathers and scatters", count, lower,
         of_kernels<KernelClass::gather_scatter, &KernelReport::launches>},
    Fact{"kernels.gather_scatter.joules", "energy of gathers and scatters", Unit::joules, lower,
         energy_of_kernels<KernelClass::gather_scatter>},
    Fact{"kernels.loss.time_s", "kernels of the loss", seconds, lower,
         of_kernels<KernelClass::loss, &KernelReport::time>, "loss_s", "loss"},
    Fact{"kernels.loss.bytes", "bytes of kernels of the loss", bytes, lower,
         of_kernels<KernelClass::loss, &KernelReport::bytes>},
    Fact{"kernels.loss.launches", "launches of kernels of the loss", count, lower,
         of_kernels<KernelClass::loss, &KernelReport::launches>},
    Fact{"kernels.loss.joules", "energy of kernels of the loss", Unit::joules, lower,
         energy_of_kernels<KernelClass::loss>},
    Fact{"kernels.update.time_s", "kernels of the update", seconds, lower,
         of_kernels<KernelClass::update, &KernelReport::time>, "update_s", "update"},
    Fact{"kernels.update.bytes", "bytes of kernels of the update", bytes, lower,
         of_kernels<KernelClass::update, &KernelReport::bytes>},
    Fact{"kernels.update.launches", "launches of kernels of the update", count, lower,
         of_kernels<KernelClass::update, &KernelReport::launches>},
    Fact{"kernels.update.joules", "energy of kernels of the update", Unit::joules, lower,
         energy_of_kernels<KernelClass::update>},
    Fact{"kernels.host.time_s", "gaps between kernels", seconds, lower,
         of_kernels<KernelClass::host, &KernelReport::time>, "gaps_s", "gaps"},
    Fact{"energy.joules", "energy of a step", Unit::joules, lower, joules_of<&PowerReport::energy>, "joules"},
    Fact{"energy.joules_per_token", "energy per token", Unit::joules, lower, joules_per_token,
         "joules_per_token", "energy/token"},
    Fact{"energy.idle_joules", "energy that idle devices would draw", Unit::joules, lower,
         joules_of<&PowerReport::idle>},
    Fact{"energy.communication_joules", "energy of what is sent", Unit::joules, lower,
         joules_of<&PowerReport::communication>},
    Fact{"energy.mean_power_w", "mean power of a device", Unit::watts, lower,
         at<&Report::power, &PowerReport::mean>, "mean_power_w", "power"},
    Fact{"energy.limit_w", "mean power that a device may draw", Unit::watts, neither,
         at<&Report::power, &PowerReport::limit>},
    Fact{"energy.clock", "clock over the full one", share, higher, at<&Report::power, &PowerReport::clock>,
         "clock", "clock", 1},
    Fact{"energy.clock_mhz", "clock in MHz", count, higher, clock_mhz},
    Fact{"energy.limit_cost_s", "cost of the power limit", seconds, lower,
         at<&Report::power, &PowerReport::limit_cost>, "limit_cost_s"},
    Fact{"steps", "steps of training", rows, neither, rows_of_steps},
    Fact{"communication", "communication and links", rows, neither, rows_of_communication},
    Fact{"gradient_parts", "gradients by part of the model", rows, neither, rows_of_gradient_parts},
    Fact{"routing.load_max_over_mean",
         "tokens of the busiest expert over the mean",
         Unit::ratio,
         lower,
         at<&Report::routing, &RoutingReport::load_max_over_mean>,
         "load_max_over_mean",
         {},
         3},
    Fact{"routing.rank_load_max_over_mean",
         "rows of the busiest rank over the mean",
         Unit::ratio,
         lower,
         at<&Report::routing, &RoutingReport::rank_load_max_over_mean>,
         {},
         {},
         3},
    Fact{"routing.dropped_token_fraction", "dropped", share, lower,
         at<&Report::routing, &RoutingReport::dropped_token_fraction>, "dropped_token_fraction"},
    Fact{"routing.padded_row_fraction", "padding", share, lower,
         at<&Report::routing, &RoutingReport::padded_row_fraction>},
    Fact{"routing.per_expert_tokens.least", "least tokens of an expert", count, neither,
         at<&Report::routing, &RoutingReport::least>},
    Fact{"routing.per_expert_tokens.mean", "mean tokens of an expert", count, neither,
         at<&Report::routing, &RoutingReport::mean>},
    Fact{"routing.per_expert_tokens.most", "most tokens of an expert", count, neither,
         at<&Report::routing, &RoutingReport::most>},
    Fact{"routing.busiest_experts", "busiest experts", rows, neither, rows_of_busiest_experts},
    Fact{"routing.imbalance_cost_s", "cost of uneven loads", seconds, lower,
         at<&Report::routing, &RoutingReport::imbalance_cost>, "imbalance_cost_s"},
    Fact{"memory.per_stage", "memory of pipeline ranks", rows, neither, rows_of_memory},
    Fact{"memory.peak", "peak memory", bytes, lower, of_memory<&Report::memory_peak>, "peak_memory"},
    Fact{"memory.peak_of_tensors", "peak memory of tensors", bytes, lower, of_memory<&Report::tensors_peak>},
    Fact{"memory.capacity", "device memory", bytes, neither, of_memory<&Report::memory_capacity>},
    Fact{"memory.fits", "fits", Unit::flag, higher, of_memory<&Report::fits>, "fits"},
    Fact{"goodput.simulated", "goodput", share, higher, at<&Report::goodput, &GoodputReport::simulated>},
    Fact{"goodput.failures", "failures", count, lower, at<&Report::goodput, &GoodputReport::failures>},
    Fact{"goodput.steps_between_checkpoints", "steps between checkpoints", count, neither,
         at<&Report::goodput, &GoodputReport::steps_between>},
    Fact{"goodput.checkpoint_interval_s", "work between checkpoints", seconds, neither,
         at<&Report::goodput, &GoodputReport::interval>},
    Fact{"goodput.run_s", "simulated run", seconds, neither, at<&Report::goodput, &GoodputReport::run>},
    Fact{"goodput.mean_time_between_failures_s", "mean time between failures", seconds, neither,
         of_failures<&GoodputReport::mean_between_s>},
    Fact{"goodput.expected", "expected goodput", share, higher, of_failures<&GoodputReport::expected>},
    Fact{"goodput.young_interval_s", "best interval by Young 1974", seconds, neither,
         of_failures<&GoodputReport::young_s>},
    Fact{"goodput.expected_at_young_interval", "goodput at that interval", share, neither,
         of_failures<&GoodputReport::expected_at_young>},
    Fact{"goodput.daly_interval_s", "best interval by Daly 2006", seconds, neither,
         of_failures<&GoodputReport::daly_s>},
    Fact{"goodput.expected_at_daly_interval", "goodput at that interval", share, neither,
         of_failures<&GoodputReport::expected_at_daly>},
    Fact{"budget.tokens", "tokens of the training", count, neither,
         at<&Report::budget, &BudgetReport::tokens>},
    Fact{"budget.steps", "steps of the training", count, neither, at<&Report::budget, &BudgetReport::steps>},
    Fact{"budget.wall_clock_s", "time of the training", seconds, lower,
         at<&Report::budget, &BudgetReport::wall_clock>, "wall_clock_s", "training"},
    Fact{"budget.device_hours", "device hours of the training", hours, lower,
         at<&Report::budget, &BudgetReport::device_hours>, "device_hours", "device hours"},
    Fact{"budget.kwh", "energy of the training", kilowatt_hours, lower,
         at<&Report::budget, &BudgetReport::kwh>, "kwh", "energy"},
    Fact{"budget.device_cost", "cost of devices", money, lower,
         at<&Report::budget, &BudgetReport::device_cost>},
    Fact{"budget.energy_cost", "cost of energy", money, lower,
         at<&Report::budget, &BudgetReport::energy_cost>},
    Fact{"budget.cost", "cost of the training", money, lower, at<&Report::budget, &BudgetReport::cost>,
         "cost", "cost"},
    Fact{"budget.carbon_kg", "carbon dioxide of the training", kilograms, lower,
         at<&Report::budget, &BudgetReport::carbon_kg>, "carbon_kg", "carbon"},
    Fact{"repeat", "percentiles over seeds", rows, neither, rows_of_repeat},
    Fact{"drift.tokens_per_s", "tokens per s of the run", Unit::tokens_per_s, higher,
         at<&Report::drift, &DriftReport::tokens_per_second>, "run_tokens_per_s", "tokens/s of the run"},
    Fact{"drift.time_s", "time of the run", seconds, lower, at<&Report::drift, &DriftReport::time>,
         "run_time_s"},
    Fact{"drift.steps", "steps of the run", count, neither, at<&Report::drift, &DriftReport::count>},
    Fact{"drift.simulated", "steps that were simulated", count, neither,
         at<&Report::drift, &DriftReport::simulated>},
    Fact{"drift.mean_rank_load_max_over_mean", "rows of the busiest rank over the mean, over all steps",
         Unit::ratio, lower, at<&Report::drift, &DriftReport::mean_rank_load>, "run_rank_load_max_over_mean",
         "busiest rank", 3},
    Fact{"drift.rebalances", "times that experts moved", count, neither,
         at<&Report::drift, &DriftReport::rebalances>},
    Fact{"drift.moved_bytes", "bytes of experts that moved", bytes, lower,
         at<&Report::drift, &DriftReport::bytes>, "moved_bytes", "moved"},
    Fact{"drift.moving_s", "time of experts that move", seconds, lower,
         at<&Report::drift, &DriftReport::moving>, "moving_s", "moving"},
    Fact{"drift.waiting_s", "waiting for experts that move", seconds, lower,
         at<&Report::drift, &DriftReport::waiting>, "moving_waiting_s"},
    Fact{"drift.over_steps", "percentiles over steps", rows, neither, rows_of_drift},
    Fact{"drift.by_step", "steps one by one", rows, neither, rows_of_drift_steps},
    Fact{"critical_path", "critical path", rows, neither, rows_of_critical_path},
    Fact{"expected_error.low_s", "least step time expected", seconds, neither,
         at<&Report::expected_error, &ExpectedError::low>, "step_time_low_s"},
    Fact{"expected_error.high_s", "most step time expected", seconds, neither,
         at<&Report::expected_error, &ExpectedError::high>, "step_time_high_s"},
    Fact{"expected_error.level", "measured steps expected in between", share, neither, level_of_bars},
    Fact{"expected_error.dominated_by", "what dominates the expected error", Unit::text, neither,
         largest_error},
    Fact{"expected_error.known_share", "step time of which errors are known", share, neither,
         at<&Report::expected_error, &ExpectedError::known_share>},
    Fact{"expected_error.draws", "draws of the errors", count, neither, drawn_errors},
    Fact{"expected_error.sources", "sources of the expected error", rows, neither, rows_of_error_sources},
    Fact{"engine.kind", "engine", Unit::text, neither, at<&Report::engine>},
    Fact{"engine.tasks", "tasks", count, neither, nullptr, {}, {}, 2, tasks_of},
    Fact{"engine.events", "events", count, neither, nullptr, {}, {}, 2, events_of},
    Fact{"engine.wall_s", "wall time", seconds, neither, at<&Report::wall_seconds>},
};

}  // namespace

std::span<const Fact> facts() { return table; }

const Fact* find_fact(std::string_view name) {
  const auto found = std::find_if(table.begin(), table.end(),
                                  [&](const Fact& one) { return one.path == name || one.name == name; });
  return found == table.end() ? nullptr : &*found;
}

const Fact& fact(std::string_view name) {
  const Fact* found = find_fact(name);
  ensure(found != nullptr, "the fact is in the table");
  return *found;
}

std::vector<std::pair<std::string_view, Value>> measure_facts(const Scenario& scenario,
                                                              const TaskGraph& graph,
                                                              const Timeline& timeline) {
  std::vector<std::pair<std::string_view, Value>> measured;
  for (const Fact& one : table) {
    if (one.measure != nullptr) measured.emplace_back(one.path, one.measure(scenario, graph, timeline));
  }
  return measured;
}

Value read(const Fact& fact, const Report& report) {
  if (fact.of != nullptr) return fact.of(report);
  for (const auto& [path, value] : report.measured) {
    if (path == fact.path) return value;
  }
  return {};
}

double number(std::string_view name, const Report& report) { return read(fact(name), report).number; }

}  // namespace moesim
