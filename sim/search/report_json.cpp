// The result of a search as JSON.
#include "models/config/value.hpp"
#include "models/config/values.hpp"
#include "sim/search/report.hpp"

namespace moesim {
namespace {

template <class T>
Value list_of(const std::vector<T>& items) {
  Value list = of(Value::Kind::list);
  for (const T& item : items) list.items.push_back(of(item));
  return list;
}

Value plan_of(const SearchResult& result, const FoundPlan& plan) {
  Value row = of(Value::Kind::object);
  row.set("plan", of(print(plan)));
  row.set("pipeline", of(plan.sizes.pipeline));
  row.set("tensor", of(plan.sizes.tensor));
  row.set("context", of(plan.sizes.context));
  row.set("data", of(plan.sizes.data));
  row.set("expert", of(plan.sizes.expert));
  row.set("expert_tensor", of(plan.sizes.expert_tensor));
  row.set("microbatch", of(plan.microbatch));
  row.set("schedule", of(plan.schedule));
  if (plan.chunks > 0) row.set("chunks", of(plan.chunks));
  row.set("recompute", list_of(plan.recompute));
  row.set("gradient_sync", of(plan.gradient_sync));
  row.set("placement", list_of(plan.placement));
  row.set("layers_per_stage", list_of(plan.layers_per_stage));
  if (plan.estimated_seconds > 0) {  // else there is no estimate
    row.set("estimated_step_time_s", of(plan.estimated_seconds));
    row.set("estimated_memory", of(plan.estimated_memory));
  }
  if (!plan.report) {
    row.set("error", of(plan.error));
    return row;
  }
  const Report& report = *plan.report;
  row.set("step_time_s", of(to_seconds(report.step_time)));
  row.set("mfu", of(report.mfu()));
  row.set("bubble_fraction", of(report.bubble_fraction));
  row.set("bubble_mean", of(report.bubble_mean));
  row.set("bubble_most", of(report.bubble_most));
  row.set("peak_memory", of(report.memory_peak().count));
  row.set("fits", of(report.memory_peak() <= result.memory_limit));
  row.set("compute_s", of(to_seconds(report.breakdown.compute)));
  row.set("exposed_communication_s", of(to_seconds(report.breakdown.exposed_communication)));
  row.set("bubble_s", of(to_seconds(report.breakdown.bubble)));
  row.set("optimizer_s", of(to_seconds(report.breakdown.optimizer)));
  row.set("fingerprint", of(report.fingerprint));
  return row;
}

/// The scenario's own plan: `place` among the plans, from 1, where it is one of them.
Value own_of(const SearchResult& result) {
  Value row = plan_of(result, result.own.plan);
  if (result.own.place > 0) row.set("place", of(static_cast<std::int64_t>(result.own.place)));
  row.set("outside", list_of(result.own.outside));
  return row;
}

}  // namespace

std::string write_json(const SearchResult& result) {
  Value root = of(Value::Kind::object);
  root.set("schema", of(std::string("moesim.search/1")));
  root.set("about", of(result.about));
  root.set("on", of(result.on));
  if (!result.scenario.empty()) root.set("scenario", parse_json(result.scenario, "scenario of a search"));
  root.set("tried", list_of(result.tried));
  root.set("candidates", of(static_cast<std::int64_t>(result.candidates)));
  Value cut = of(Value::Kind::object);
  for (std::size_t rule = 0; rule < cut_rule_count; ++rule)
    cut.set(cut_rule_names[rule], of(static_cast<std::int64_t>(result.cut[rule])));
  root.set("cut", cut);
  root.set("ranked", of(static_cast<std::int64_t>(result.ranked)));
  root.set("memory_limit", of(result.memory_limit.count));
  Value agreement = of(Value::Kind::object);
  agreement.set("plans", of(static_cast<std::int64_t>(result.agreement.pairs)));
  agreement.set("median", of(result.agreement.median));
  agreement.set("worst", of(result.agreement.worst));
  agreement.set("kendall_tau", of(result.agreement.kendall_tau));
  agreement.set("winner_rank", of(static_cast<std::int64_t>(result.agreement.winner_rank)));
  root.set("estimate_against_simulation", agreement);
  Value plans = of(Value::Kind::list);
  for (const FoundPlan& plan : result.simulated) plans.items.push_back(plan_of(result, plan));
  root.set("plans", plans);
  Value front = of(Value::Kind::list);
  for (const std::size_t i : result.front) front.items.push_back(of(static_cast<std::int64_t>(i)));
  root.set("front", front);
  root.set("same", of(static_cast<std::int64_t>(result.same)));
  root.set("own", own_of(result));
  return write_json(root);
}

}  // namespace moesim
