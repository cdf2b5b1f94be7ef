#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "models/base/at.hpp"
#include "models/base/error.hpp"
#include "models/base/whole.hpp"
#include "sim/report/error_model.hpp"
#include "sim/report/fact.hpp"
#include "sim/report/gradient_parts.hpp"
#include "sim/report/kernels.hpp"
#include "sim/report/occupancy.hpp"
#include "sim/report/plan.hpp"
#include "sim/report/power.hpp"
#include "sim/report/report.hpp"
#include "sim/report/steps.hpp"
#include "sim/report/waiting.hpp"
#include "sim/work/share.hpp"

namespace moesim {
namespace {

/// Mean over devices.
Time mean(const std::vector<Occupancy>& actors, auto member) {
  MeanTime devices;
  for (const Occupancy& actor : actors) devices.add(member(actor), actor.devices);
  return devices.mean();
}

void add_breakdown(const std::vector<Occupancy>& actors, Report& report) {
  for (const Activity activity : communications) {
    CommunicationReport& of = at(report.communications, activity);
    of.busy = mean(actors, [&](const Occupancy& o) { return at(o.busy, activity); });
    of.exposed = mean(actors, [&](const Occupancy& o) { return at(o.exposed, activity); });
    report.breakdown.exposed_communication += of.exposed;
  }
  report.breakdown.compute = mean(actors, [](const Occupancy& o) { return o.compute; });
  report.breakdown.optimizer = mean(actors, [](const Occupancy& o) { return o.optimizer; });
  report.breakdown.host = mean(actors, [](const Occupancy& o) { return o.held_up; });
  // The rest, so that the parts add up to the step to the last picosecond.
  report.breakdown.bubble = report.step_time - report.breakdown.compute - report.breakdown.optimizer -
                            report.breakdown.exposed_communication - report.breakdown.host;
}

void add_waiting(const TaskGraph& graph, const Timeline& timeline, Report& report) {
  const auto waiting = waiting_for_peers(graph, timeline);
  for (const Activity activity : communications)
    at(report.communications, activity).waiting = at(waiting, activity);
}

void add_passes(const std::vector<Occupancy>& actors, Report& report) {
  const auto phase = [&](Phase which) {
    return mean(actors, [&](const Occupancy& o) { return at(o.phases, which); });
  };
  report.passes = {.forward = phase(Phase::forward),
                   .backward = phase(Phase::backward),
                   .backward_weight = phase(Phase::backward_weight),
                   .overlapped = phase(Phase::overlapped)};
}

/// Compute and the communication that blocks passes; waiting for another stage is not busy.
Time busy_in_passes(const Occupancy& actor) {
  return std::accumulate(actor.phases.begin(), actor.phases.end(), Time{});
}

/// What a device's passes are measured against.
Time span_of(const Order& order, const Occupancy& actor, const Report& report) {
  return order.flows_into_next_step ? actor.last_pass - actor.first_pass : report.makespan;
}

void add_bubbles(const Order& order, const std::vector<Occupancy>& actors, Report& report) {
  double sum = 0;
  double devices = 0;
  for (const Occupancy& actor : actors) {
    const Time span = span_of(order, actor, report);
    const double bubble = span.count == 0 ? 0 : (span - busy_in_passes(actor)) / span;
    report.bubble_most = std::max(report.bubble_most, bubble);
    sum += bubble * static_cast<double>(actor.devices);
    devices += static_cast<double>(actor.devices);
  }
  report.bubble_mean = sum / devices;
}

void add_stages(const Order& order, const std::vector<Occupancy>& actors, Report& report) {
  const std::size_t ranks = order.ranks.size();
  const std::size_t positions = actors.size() / ranks;
  for (const Occupancy& actor : actors) report.makespan = std::max(report.makespan, actor.last_pass);
  add_bubbles(order, actors, report);
  std::size_t slowest = 0;
  for (std::size_t rank = 0; rank < ranks; ++rank) {
    PipelineRankReport stage;
    for (std::size_t position = 0; position < positions; ++position) {
      const Occupancy& actor = actors[rank * positions + position];
      const Time span = span_of(order, actor, report);
      const Time busy = busy_in_passes(actor);
      if (position > 0 && (span < stage.span || (span == stage.span && busy <= stage.busy))) continue;
      stage.span = span;
      stage.busy = busy;
    }
    stage.bubble = stage.span - stage.busy;
    stage.peak_microbatches_in_flight = peak_in_flight(order.ranks[rank]);
    report.pipeline_ranks.push_back(stage);
    const PipelineRankReport& worst = report.pipeline_ranks[slowest];
    // The rank with most to do sets the pace; of equals the one that takes longest over it.
    if (stage.busy > worst.busy || (stage.busy == worst.busy && stage.span > worst.span)) slowest = rank;
  }
  report.bubble = report.pipeline_ranks[slowest].bubble;
  report.makespan_bubble_fraction =
      report.makespan.count == 0 ? 0 : 1 - report.pipeline_ranks[slowest].busy / report.makespan;
  report.bubble_fraction = report.pipeline_ranks[slowest].span.count == 0
                               ? 0
                               : report.bubble / report.pipeline_ranks[slowest].span;
}

/// How often each pattern ran, and with it bytes and messages of the phases.
std::vector<std::int64_t> count_patterns(const TaskGraph& graph, Report& report) {
  std::vector<std::int64_t> runs(graph.pattern_table.size());
  for (std::size_t task = 0; task < graph.size(); ++task) {
    if (graph.kinds[task] != TaskKind::coflow) continue;
    const Pattern& pattern = graph.pattern_table[graph.patterns[task]];
    ++runs[graph.patterns[task]];
    CommunicationReport& phase = at(report.communications, graph.tags[task].activity);
    phase.bytes = sum_of(phase.bytes, pattern.bytes_sent);
    phase.messages = sum_of(phase.messages, pattern.messages);
  }
  return runs;
}

void add_links(const Scenario& scenario, const TaskGraph& graph, const std::vector<std::int64_t>& runs,
               Report& report) {
  const std::span<const Link> links = scenario.fabric().links();
  std::vector<double> bytes(links.size());
  for (std::size_t p = 0; p < runs.size(); ++p) {
    const Pattern& pattern = graph.pattern_table[p];
    for (const LinkLoad& load : graph.link_loads_of(pattern))
      bytes[load.link] += load.carried * static_cast<double>(runs[p]);
  }
  for (std::size_t c = 0; c < link_class_count; ++c) {
    LinkClassReport row{.link_class = static_cast<LinkClass>(c)};
    double sum = 0;
    double total = 0;
    std::int64_t count = 0;
    for (std::size_t i = 0; i < links.size(); ++i) {
      if (links[i].link_class != row.link_class) continue;
      // Without contention a link may be asked for more than it carries: it is then used all the time.
      const double utilization =
          std::min(1.0, bytes[i] / (links[i].rate.count * to_seconds(report.step_time)));
      row.max_utilization = std::max(row.max_utilization, utilization);
      sum += utilization;
      total += bytes[i];
      ++count;
    }
    if (count == 0) continue;
    row.bytes = from_bytes(total).count;
    row.mean_utilization = sum / static_cast<double>(count);
    report.link_classes.push_back(row);
  }
}

void add_model(const Work& work, Report& report) {
  const Scenario& scenario = work.scenario;
  report.tokens = scenario.batch.tokens();
  report.devices = scenario.fabric().device_count();
  report.model = {.name = scenario.model.name,
                  .parameters = model_parameters(scenario.model).total(),
                  .active = active_parameters(scenario.model),
                  .active_without_embedding = active_parameters_without_embedding(scenario.model)};
  report.mfu_attention = scenario.mfu_attention;
  for (const MfuAttention attention : {MfuAttention::causal, MfuAttention::whole}) {
    at(report.flops_per_token, attention) = training_flops_per_token(
        scenario.model, scenario.batch.sequence_length, attention == MfuAttention::causal,
        scenario.model.prediction_layers > 0, scenario.batch.target_length);
  }
  report.peak = at(scenario.cluster->device.gemm, Precision::bf16).peak;
  report.memory = memory_of_ranks(work);
  report.memory_capacity = scenario.cluster->device.memory;
}

/// Whether some choices of tokens are never computed: over a capacity, or skipped.
bool leaves_out_choices(const Work& work) {
  const Scenario& scenario = work.scenario;
  for (std::size_t layer = 0; layer < scenario.model.layers.size(); ++layer) {
    const Layer& shape = scenario.model.layers[layer];
    if (shape.is_moe && dispatched_rows(scenario, layer, work.loads.get()) <
                            tokens_per_device(scenario, layer) * shape.experts.top_k)
      return true;
  }
  return false;
}

/// All work at the rate that a device reaches at best, in bf16 and with causal attention, is a bound of every
/// step: one below it has lost work.
void check_work(const Work& work, const Report& report) {
  const Scenario& scenario = work.scenario;
  if (scenario.precision.gemm != Precision::bf16 || leaves_out_choices(work)) return;
  const Device& device = scenario.cluster->device;
  const GemmBehaviour& gemm = device.gemm_in(Precision::bf16);
  const double best = std::max(
      {1.0, gemm.sustained, device.attention_forward.efficiency, device.attention_backward.efficiency});
  const double rate = report.flops_per_device(MfuAttention::causal).count;
  if (rate <= best * gemm.peak.count) return;
  throw RunError(
      fmt::format("the step comes to {:.0f} % of the device's peak in bf16, more than it can do: "
                  "work was lost, which is an error of moesim",
                  100 * rate / gemm.peak.count));
}

void add_critical_path(const TaskGraph& graph, const std::vector<CriticalStep>& path, Report& report) {
  std::array<Time, activity_count> shares{};
  for (const CriticalStep& step : path) {
    at(shares, graph.tags[step.task].activity) += step.share;
  }
  for (std::size_t activity = 0; activity < activity_count; ++activity) {
    if (shares[activity].count > 0)
      report.critical_path.push_back(
          {std::string(activities[activity].name), shares[activity] / report.step_time});
  }
  std::stable_sort(report.critical_path.begin(), report.critical_path.end(),
                   [](const CriticalShare& a, const CriticalShare& b) { return a.share > b.share; });
}

}  // namespace

Percentiles percentiles_of(std::vector<double> values) {
  ensure(!values.empty(), "percentiles are of some values");
  std::sort(values.begin(), values.end());
  const auto count = static_cast<double>(values.size());
  const auto rank = [&](double share) {
    return values[static_cast<std::size_t>(std::max(1.0, std::ceil(share * count - 1e-9))) - 1];
  };
  return {.least = values.front(),
          .p10 = rank(0.1),
          .median = rank(0.5),
          .p90 = rank(0.9),
          .p99 = rank(0.99),
          .most = values.back(),
          .mean = std::accumulate(values.begin(), values.end(), 0.0) / count};
}

Bytes Report::tensors_peak() const {
  Bytes highest;
  for (const MemoryReport& rank : memory) highest = std::max(highest, rank.tensors());
  return highest;
}

Bytes Report::memory_peak() const {
  Bytes highest;
  for (const MemoryReport& rank : memory) highest = std::max(highest, rank.total());
  return highest;
}

Report summarize(const Work& work, const TaskGraph& graph, const Timeline& timeline,
                 const std::vector<CriticalStep>& path) {
  const Scenario& scenario = work.scenario;
  Report report;
  report.about = scenario.about;
  report.title = scenario.words.title;
  report.plan = plan_line(scenario);
  report.fingerprint = fingerprint(timeline);
  report.step_time = timeline.makespan();
  if (report.step_time.count <= 0) throw RunError("the step takes no time: the scenario does no work");
  const std::vector<Occupancy> actors = occupancy(graph, timeline);
  add_breakdown(actors, report);
  add_waiting(graph, timeline, report);
  if (!scenario.communication) add_stages(work.order, actors, report);
  add_passes(actors, report);
  const std::vector<std::int64_t> runs = count_patterns(graph, report);
  if (scenario.cluster) {
    if (!scenario.communication) {
      add_model(work, report);
      check_work(work, report);
    }
    add_links(scenario, graph, runs, report);
    add_gradient_parts(scenario, graph, timeline, report);
    report.routing = routing_of(work);
    report.steps = steps_of(work, graph, timeline, report);
    if (!scenario.communication) {
      report.kernels = kernels_of(work, graph, timeline);
      if (scenario.cluster->device.power) report.power = power_of(scenario, actors, report);
    }
  }
  if (scenario.faults.failures) {
    const std::int64_t devices =
        scenario.cluster ? scenario.fabric().device_count() : scenario.layout.sizes().pipeline;
    report.goodput = goodput_of(*scenario.faults.failures, scenario.faults.seed, devices, report.step_time);
  }
  if (scenario.budget) report.budget = budget_of(*scenario.budget, report);
  add_critical_path(graph, path, report);
  report.engine = scenario.engine_name;
  report.measured = measure_facts(scenario, graph, timeline);
  return report;
}

}  // namespace moesim
