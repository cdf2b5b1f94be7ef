#include "sim/search/own.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "models/base/error.hpp"
#include "sim/read/scenario.hpp"
#include "sim/search/choices.hpp"

namespace moesim {
namespace {

FoundPlan plan_of(const Value& document, const Scenario& scenario) {
  FoundPlan plan{.sizes = scenario.layout.sizes(),
                 .microbatch = scenario.batch.microbatch,
                 .layers_per_stage = scenario.layers_per_stage,
                 .report = {},
                 .error = {}};
  for (const ChoiceAxis& axis : choice_axes()) axis.own(document, scenario, plan);
  return plan;
}

/// What of the plan the search does not try.
std::vector<std::string> outside_of(const SearchSpace& space, const Scenario& scenario,
                                    const FoundPlan& plan) {
  std::vector<std::string> outside;
  for (const SizeAxis* axis : told_sizes()) {
    const std::vector<std::int64_t>& tried = space.of(axis->size);
    const std::int64_t has = size_in(plan, *axis);
    const bool is_any = axis->set.empty() && tried.empty();
    if (!is_any && std::find(tried.begin(), tried.end(), has) == tried.end())
      outside.push_back(fmt::format("{} {}", axis->key, has));
  }
  for (const ChoiceAxis& axis : choice_axes()) {
    if (std::string other = axis.outside(space.choices, scenario, plan); !other.empty())
      outside.push_back(std::move(other));
  }
  const std::vector<std::int64_t>& layers = plan.layers_per_stage;
  if (!space.empty_stages && std::find(layers.begin(), layers.end(), 0) != layers.end())
    outside.emplace_back("stages without layers");
  return outside;
}

/// As a candidate is estimated, with the stages that the scenario has.
void add_estimate(const Scenario& scenario, FoundPlan& plan, Scenario base) {
  CostTables tables(std::move(base));
  const Division division{plan.sizes, scenario.layout.placement()};
  const DivisionGroups groups = tables.groups(division);
  const MicrobatchCost cost =
      tables.cost(division, groups, plan.microbatch, {plan.recompute, scenario.recompute}, 0);
  const PipelineProfile profile =
      profile_of(*scenario.schedule, plan.sizes.pipeline, scenario.microbatches());
  PipelineEstimate pipeline(tables, cost, profile,
                            stage_costs(cost, tables.kind_of_layer(), plan.layers_per_stage));
  const UpdateSeconds each = update_seconds(tables.scenario());
  const Estimate estimate = pipeline.with({scenario.gradient_sync, groups, each});
  plan.estimated_seconds = estimate.seconds;
  plan.estimated_memory = estimate.memory;
}

}  // namespace

OwnPlan own_plan_of(const Value& document, const SearchSpace& space, Scenario base) {
  OwnPlan own;
  try {
    const Scenario scenario = read_scenario(document);
    own.plan = plan_of(document, scenario);
    own.outside = outside_of(space, scenario, own.plan);
    if (own.plan.schedule == "zb_auto") return own;  // its order is fitted to durations
    add_estimate(scenario, own.plan, std::move(base));
  } catch (const InputError& error) {
    own.plan.error = error.what();
  }
  return own;
}

}  // namespace moesim
