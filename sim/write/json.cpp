// The report as JSON: the keys of docs/interface.md, in their order.
#include <nlohmann/json.hpp>

#include "sim/report/report.hpp"

namespace moesim {
namespace {

using Json = nlohmann::ordered_json;

Json pipeline(const Report& report) {
  Json stages = Json::array();
  for (const StageReport& stage : report.stages) {
    stages.push_back({{"busy_s", to_seconds(stage.busy)},
                      {"span_s", to_seconds(stage.span)},
                      {"bubble_s", to_seconds(stage.bubble)},
                      {"peak_microbatches_in_flight", stage.peak_microbatches_in_flight}});
  }
  return {{"makespan_s", to_seconds(report.makespan)},
          {"bubble_fraction", report.bubble_fraction},
          {"makespan_bubble_fraction", report.makespan_bubble_fraction},
          {"bubble_mean", report.bubble_mean},
          {"bubble_most", report.bubble_most},
          {"bubble_s", to_seconds(report.bubble)},
          {"per_stage", std::move(stages)}};
}

Json communication(const Report& report) {
  Json all = Json::object();
  for (std::size_t work = static_cast<std::size_t>(Work::dispatch); work < work_count; ++work) {
    const PhaseReport& phase = report.phases[work];
    if (phase.messages == 0) continue;
    all[std::string(work_names[work])] = {{"bytes", phase.bytes},
                                          {"messages", phase.messages},
                                          {"busy_s", to_seconds(phase.busy)},
                                          {"exposed_s", to_seconds(phase.exposed)}};
  }
  Json classes = Json::object();
  for (const LinkClassReport& row : report.link_classes) {
    classes[std::string(link_class_names[static_cast<std::size_t>(row.link_class)])] = {
        {"bytes", row.bytes},
        {"mean_utilization", row.mean_utilization},
        {"max_utilization", row.max_utilization}};
  }
  all["per_link_class"] = std::move(classes);
  return all;
}

Json gradient_parts(const Report& report) {
  Json parts = Json::object();
  for (std::size_t part = 0; part < held_part_count; ++part) {
    const GradientPartReport& row = report.gradient_parts[part];
    if (row.bytes == 0) continue;
    parts[std::string(held_part_names[part])] = {{"bytes", row.bytes}, {"busy_s", to_seconds(row.busy)}};
  }
  return parts;
}

Json routing(const RoutingReport& routing) {
  Json json = {
      {"load_max_over_mean", routing.load_max_over_mean},
      {"rank_load_max_over_mean", routing.rank_load_max_over_mean},
      {"dropped_token_fraction", routing.dropped_token_fraction},
      {"padded_row_fraction", routing.padded_row_fraction},
      {"per_expert_tokens", {{"least", routing.least}, {"mean", routing.mean}, {"most", routing.most}}}};
  for (const BusiestExpert& busiest : routing.busiest) {
    json["busiest_experts"].push_back({{"layer", busiest.layer},
                                       {"expert", busiest.expert},
                                       {"load_max_over_mean", busiest.load_max_over_mean}});
  }
  if (routing.imbalance_cost) json["imbalance_cost_s"] = to_seconds(*routing.imbalance_cost);
  return json;
}

Json goodput(const GoodputReport& of) {
  Json json = {{"simulated", of.simulated},
               {"failures", of.failures},
               {"steps_between_checkpoints", of.steps_between},
               {"checkpoint_interval_s", to_seconds(of.interval)},
               {"run_s", of.run.count}};
  if (of.mean_between_s == 0) return json;
  json["mean_time_between_failures_s"] = of.mean_between_s;
  json["expected"] = of.expected;
  json["young_interval_s"] = of.young_s;
  json["expected_at_young_interval"] = of.expected_at_young;
  json["daly_interval_s"] = of.daly_s;
  json["expected_at_daly_interval"] = of.expected_at_daly;
  return json;
}

Json percentiles(const Percentiles& of) {
  return {{"min", of.least}, {"median", of.median}, {"p90", of.p90},
          {"p99", of.p99},   {"max", of.most},      {"mean", of.mean}};
}

Json repeat(const RepeatReport& of) {
  Json json = {{"runs", of.runs}, {"step_time_s", percentiles(of.step_time)}};
  if (of.goodput) json["goodput"] = percentiles(*of.goodput);
  return json;
}

Json steps(const Report& report) {
  Json rows = Json::array();
  for (const StepReport& row : report.steps) {
    Json json = {{"step", row.step}};
    if (!row.part.empty()) json["part"] = row.part;
    json["compute_s"] = to_seconds(row.compute);
    json["communication_s"] = to_seconds(row.communication);
    json["exposed_s"] = to_seconds(row.exposed);
    json["bytes"] = row.bytes;
    rows.push_back(std::move(json));
  }
  return rows;
}

Json memory(const Report& report) {
  Json stages = Json::array();
  for (const MemoryReport& stage : report.memory) {
    stages.push_back({{"parameters", stage.parameters.count},
                      {"gradients", stage.gradients.count},
                      {"optimizer", stage.optimizer.count},
                      {"activations", stage.activations.count},
                      {"buffers", stage.buffers.count},
                      {"driver", stage.driver.count},
                      {"channels", stage.channels.count},
                      {"total", stage.total().count}});
  }
  return {{"per_stage", std::move(stages)},
          {"peak", report.memory_peak().count},
          {"peak_of_tensors", report.tensors_peak().count},
          {"capacity", report.memory_capacity.count},
          {"fits", report.fits()}};
}

}  // namespace

std::string write_report_json(const Report& report) {
  Json json = {{"schema", "moesim.report/1"},
               {"about", report.about},
               {"plan", report.plan},
               {"fingerprint", report.fingerprint}};
  if (!report.scenario.empty()) json["scenario"] = Json::parse(report.scenario);
  json["step_time_s"] = to_seconds(report.step_time);
  if (report.tokens > 0) {
    json["parameters"] = {{"total", report.model.parameters},
                          {"active", report.model.active},
                          {"active_without_embedding", report.model.active_without_embedding}};
    json["tokens_per_s"] = report.tokens_per_second();
    json["tokens_per_s_per_device"] = report.tokens_per_second_per_device();
    json["model_flops_per_token"] = report.model_flops_per_token().count;
    json["tflops_per_device"] = report.flops_per_device().count / 1e12;
    json["mfu"] = report.mfu();
    json["mfu_attention"] = mfu_attention_names[static_cast<std::size_t>(report.mfu_attention)];
    json["mfu_causal"] = report.mfu(MfuAttention::causal);
    json["mfu_whole"] = report.mfu(MfuAttention::whole);
  }
  if (!report.stages.empty()) json["pipeline"] = pipeline(report);
  json["breakdown_s"] = {{"compute", to_seconds(report.breakdown.compute)},
                         {"exposed_communication", to_seconds(report.breakdown.exposed_communication)},
                         {"bubble", to_seconds(report.breakdown.bubble)},
                         {"optimizer", to_seconds(report.breakdown.optimizer)}};
  json["passes_s"] = {{"forward", to_seconds(report.passes.forward)},
                      {"backward", to_seconds(report.passes.backward)},
                      {"backward_weight", to_seconds(report.passes.backward_weight)},
                      {"overlapped", to_seconds(report.passes.overlapped)}};
  if (!report.steps.empty()) json["steps"] = steps(report);
  json["communication"] = communication(report);
  if (Json parts = gradient_parts(report); !parts.empty()) json["gradient_parts"] = std::move(parts);
  if (report.routing) json["routing"] = routing(*report.routing);
  if (!report.memory.empty()) json["memory"] = memory(report);
  if (report.goodput) json["goodput"] = goodput(*report.goodput);
  if (report.repeat) json["repeat"] = repeat(*report.repeat);
  json["critical_path"] = Json::array();
  for (const CriticalShare& share : report.critical_path) {
    json["critical_path"].push_back({{"kind", share.kind}, {"share", share.share}});
  }
  json["engine"] = {{"kind", report.engine},
                    {"tasks", report.tasks},
                    {"events", report.events},
                    {"wall_s", report.wall_seconds}};
  return json.dump(2) + "\n";
}

}  // namespace moesim
