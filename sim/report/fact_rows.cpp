#include "sim/report/fact_rows.hpp"

#include <initializer_list>

#include "models/base/at.hpp"
#include "models/config/values.hpp"

namespace moesim {
namespace {

Value object_of(std::initializer_list<std::pair<std::string_view, Value>> members) {
  Value object = empty_object();
  for (const auto& [name, value] : members) object.set(name, value);
  return object;
}

Value row_of(const CommunicationReport& phase) {
  Value row = object_of({{"bytes", value_of(phase.bytes)},
                         {"messages", value_of(phase.messages)},
                         {"busy_s", value_of(to_seconds(phase.busy))},
                         {"exposed_s", value_of(to_seconds(phase.exposed))}});
  if (phase.waiting.count > 0) row.set("waiting_s", value_of(to_seconds(phase.waiting)));
  return row;
}

Value row_of(const LinkClassReport& row) {
  return object_of({{"bytes", value_of(row.bytes)},
                    {"mean_utilization", value_of(row.mean_utilization)},
                    {"max_utilization", value_of(row.max_utilization)}});
}

Value row_of(const Percentiles& of) {
  return object_of({{"min", value_of(of.least)},
                    {"p10", value_of(of.p10)},
                    {"median", value_of(of.median)},
                    {"p90", value_of(of.p90)},
                    {"p99", value_of(of.p99)},
                    {"max", value_of(of.most)},
                    {"mean", value_of(of.mean)}});
}

}  // namespace

Value rows_of_stages(const Report& report) {
  if (report.pipeline_ranks.empty()) return {};
  Value rows = empty_list();
  for (const PipelineRankReport& stage : report.pipeline_ranks) {
    rows.items.push_back(
        object_of({{"busy_s", value_of(to_seconds(stage.busy))},
                   {"span_s", value_of(to_seconds(stage.span))},
                   {"bubble_s", value_of(to_seconds(stage.bubble))},
                   {"peak_microbatches_in_flight", value_of(stage.peak_microbatches_in_flight)}}));
  }
  return rows;
}

Value rows_of_steps(const Report& report) {
  if (report.steps.empty()) return {};
  Value rows = empty_list();
  for (const StepReport& step : report.steps) {
    Value row = object_of({{"step", value_of(step.step)}});
    if (!step.part.empty()) row.set("part", value_of(step.part));
    row.set("compute_s", value_of(to_seconds(step.compute)));
    row.set("communication_s", value_of(to_seconds(step.communication)));
    row.set("exposed_s", value_of(to_seconds(step.exposed)));
    row.set("bytes", value_of(step.bytes));
    rows.items.push_back(std::move(row));
  }
  return rows;
}

Value rows_of_communication(const Report& report) {
  Value phases = empty_object();
  for (const Activity activity : communications) {
    const CommunicationReport& row = at(report.communications, activity);
    if (row.messages > 0) phases.set(name_of(activity), row_of(row));
  }
  Value classes = empty_object();
  for (const LinkClassReport& row : report.link_classes)
    classes.set(at(link_class_names, row.link_class), row_of(row));
  phases.set("per_link_class", std::move(classes));
  return phases;
}

Value rows_of_gradient_parts(const Report& report) {
  Value parts = empty_object();
  for (std::size_t part = 0; part < held_part_count; ++part) {
    const GradientPartReport& row = report.gradient_parts[part];
    if (row.bytes == 0) continue;
    parts.set(held_part_names[part],
              object_of({{"bytes", value_of(row.bytes)}, {"busy_s", value_of(to_seconds(row.busy))}}));
  }
  return parts.members.empty() ? Value{} : parts;
}

Value rows_of_busiest_experts(const Report& report) {
  if (!report.routing || report.routing->busiest.empty()) return {};
  Value rows = empty_list();
  for (const BusiestExpert& busiest : report.routing->busiest) {
    rows.items.push_back(object_of({{"layer", value_of(busiest.layer)},
                                    {"expert", value_of(busiest.expert)},
                                    {"load_max_over_mean", value_of(busiest.load_max_over_mean)}}));
  }
  return rows;
}

Value rows_of_memory(const Report& report) {
  if (report.memory.empty()) return {};
  Value rows = empty_list();
  for (const MemoryReport& rank : report.memory) {
    rows.items.push_back(object_of({{"parameters", value_of(rank.parameters.count)},
                                    {"gradients", value_of(rank.gradients.count)},
                                    {"optimizer", value_of(rank.optimizer.count)},
                                    {"activations", value_of(rank.activations.count)},
                                    {"buffers", value_of(rank.buffers.count)},
                                    {"driver", value_of(rank.driver.count)},
                                    {"channels", value_of(rank.channels.count)},
                                    {"total", value_of(rank.total().count)}}));
  }
  return rows;
}

Value rows_of_repeat(const Report& report) {
  if (!report.repeat) return {};
  Value row =
      object_of({{"runs", value_of(report.repeat->runs)}, {"step_time_s", row_of(report.repeat->step_time)}});
  if (report.repeat->goodput) row.set("goodput", row_of(*report.repeat->goodput));
  return row;
}

std::vector<double> over_steps(const DriftReport& run, double (*of)(const DriftReport&, const DriftStep&)) {
  std::vector<double> values;
  for (const DriftStep& step : run.steps) values.push_back(of(run, step));
  return values;
}
double seconds_of(const DriftReport&, const DriftStep& step) { return to_seconds(step.time); }
double tokens_per_second_of(const DriftReport& run, const DriftStep& step) {
  return static_cast<double>(run.tokens) / to_seconds(step.time);
}
double expert_load_of(const DriftReport&, const DriftStep& step) { return step.load_max_over_mean; }
double rank_load_of(const DriftReport&, const DriftStep& step) { return step.rank_load_max_over_mean; }

Value rows_of_drift(const Report& report) {
  if (!report.drift) return {};
  const auto row = [&](double (*of)(const DriftReport&, const DriftStep&)) {
    return row_of(percentiles_of(over_steps(*report.drift, of)));
  };
  return object_of({{"step_time_s", row(seconds_of)},
                    {"tokens_per_s", row(tokens_per_second_of)},
                    {"load_max_over_mean", row(expert_load_of)},
                    {"rank_load_max_over_mean", row(rank_load_of)}});
}

Value rows_of_drift_steps(const Report& report) {
  if (!report.drift) return {};
  Value rows = empty_list();
  for (const DriftStep& step : report.drift->steps) {
    rows.items.push_back(object_of({{"step_time_s", value_of(seconds_of(*report.drift, step))},
                                    {"tokens_per_s", value_of(tokens_per_second_of(*report.drift, step))},
                                    {"load_max_over_mean", value_of(step.load_max_over_mean)},
                                    {"rank_load_max_over_mean", value_of(step.rank_load_max_over_mean)},
                                    {"dropped_token_fraction", value_of(step.dropped_token_fraction)},
                                    {"moved_bytes", value_of(step.bytes)},
                                    {"moving_s", value_of(to_seconds(step.moving))},
                                    {"waiting_s", value_of(to_seconds(step.waiting))}}));
  }
  return rows;
}

Value rows_of_critical_path(const Report& report) {
  Value rows = empty_list();
  for (const CriticalShare& share : report.critical_path)
    rows.items.push_back(object_of({{"kind", value_of(share.kind)}, {"share", value_of(share.share)}}));
  return rows;
}

Value rows_of_error_sources(const Report& report) {
  if (!report.expected_error) return {};
  Value rows = empty_list();
  for (const ErrorSource& source : report.expected_error->sources)
    rows.items.push_back(object_of({{"of", value_of(source.of)}, {"deviation", value_of(source.deviation)}}));
  return rows;
}

}  // namespace moesim
