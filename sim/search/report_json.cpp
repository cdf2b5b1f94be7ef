// The result of a search as JSON.
#include "models/config/values.hpp"
#include "sim/search/report.hpp"

namespace moesim {
namespace {

Value plan_of(const SearchResult& result, const FoundPlan& plan) {
  Value row = empty_object();
  row.set("plan", value_of(print(plan)));
  row.set("pipeline", value_of(plan.sizes.pipeline));
  row.set("tensor", value_of(plan.sizes.tensor));
  row.set("context", value_of(plan.sizes.context));
  row.set("data", value_of(plan.sizes.data));
  row.set("expert", value_of(plan.sizes.expert));
  row.set("expert_tensor", value_of(plan.sizes.expert_tensor));
  row.set("microbatch", value_of(plan.microbatch));
  row.set("schedule", value_of(plan.schedule));
  if (plan.chunks > 0) row.set("chunks", value_of(plan.chunks));
  row.set("recompute", list_of(plan.recompute));
  row.set("gradient_sync", value_of(plan.gradient_sync));
  row.set("placement", list_of(plan.placement));
  row.set("layers_per_stage", list_of(plan.layers_per_stage));
  if (plan.estimated_seconds > 0) {  // else there is no estimate
    row.set("estimated_step_time_s", value_of(plan.estimated_seconds));
    row.set("estimated_memory", value_of(plan.estimated_memory));
  }
  if (!plan.report) {
    row.set("error", value_of(plan.error));
    return row;
  }
  const Report& report = *plan.report;
  row.set("step_time_s", value_of(to_seconds(report.step_time)));
  row.set("mfu", value_of(report.mfu()));
  row.set("bubble_fraction", value_of(report.bubble_fraction));
  row.set("bubble_mean", value_of(report.bubble_mean));
  row.set("bubble_most", value_of(report.bubble_most));
  row.set("peak_memory", value_of(report.memory_peak().count));
  row.set("fits", value_of(report.memory_peak() <= result.memory_limit));
  row.set("compute_s", value_of(to_seconds(report.breakdown.compute)));
  row.set("exposed_communication_s", value_of(to_seconds(report.breakdown.exposed_communication)));
  row.set("bubble_s", value_of(to_seconds(report.breakdown.bubble)));
  row.set("optimizer_s", value_of(to_seconds(report.breakdown.optimizer)));
  row.set("fingerprint", value_of(report.fingerprint));
  return row;
}

/// The scenario's own plan: `place` among the plans, from 1, where it is one of them.
Value own_of(const SearchResult& result) {
  Value row = plan_of(result, result.own.plan);
  if (result.own.place > 0) row.set("place", value_of(result.own.place));
  row.set("outside", list_of(result.own.outside));
  return row;
}

}  // namespace

std::string write_json(const SearchResult& result) {
  Value root = empty_object();
  root.set("schema", value_of("moesim.search/1"));
  root.set("about", value_of(result.about));
  root.set("on", value_of(result.on));
  if (!result.scenario.empty()) root.set("scenario", parse_json(result.scenario, "scenario of a search"));
  root.set("tried", list_of(result.tried));
  root.set("candidates", value_of(result.candidates));
  Value cut = empty_object();
  for (std::size_t rule = 0; rule < cut_rule_count; ++rule)
    cut.set(cut_rule_names[rule], value_of(result.cut[rule]));
  root.set("cut", cut);
  root.set("ranked", value_of(result.ranked));
  root.set("memory_limit", value_of(result.memory_limit.count));
  Value agreement = empty_object();
  agreement.set("plans", value_of(result.agreement.pairs));
  agreement.set("median", value_of(result.agreement.median));
  agreement.set("worst", value_of(result.agreement.worst));
  agreement.set("kendall_tau", value_of(result.agreement.kendall_tau));
  agreement.set("winner_rank", value_of(result.agreement.winner_rank));
  root.set("estimate_against_simulation", agreement);
  Value plans = empty_list();
  for (const FoundPlan& plan : result.simulated) plans.items.push_back(plan_of(result, plan));
  root.set("plans", plans);
  Value front = empty_list();
  for (const std::size_t i : result.front) front.items.push_back(value_of(i));
  root.set("front", front);
  root.set("same", value_of(result.same));
  root.set("own", own_of(result));
  return write_json(root);
}

}  // namespace moesim
