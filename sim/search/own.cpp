#include "sim/search/own.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "models/base/error.hpp"
#include "sim/read/scenario.hpp"

namespace moesim {
namespace {

FoundPlan plan_of(const Value& document, const Scenario& scenario) {
  FoundPlan plan{.number = 0,
                 .sizes = scenario.layout.sizes(),
                 .microbatch = scenario.batch.microbatch,
                 .chunks = 0,
                 .schedule = kind_of(document, "schedule", "1f1b"),
                 .gradient_sync = kind_of(document, "gradient_sync", "zero1"),
                 .recompute = names_of(scenario.recompute),
                 .placement = {},
                 .layers_per_stage = scenario.layers_per_stage,
                 .report = {},
                 .error = {}};
  if (plan.schedule == "interleaved") plan.chunks = scenario.schedule->chunks();
  for (const Axis axis : scenario.layout.placement())
    plan.placement.emplace_back(axis_names[static_cast<std::size_t>(axis)]);
  return plan;
}

/// What of the plan the search does not try.
std::vector<std::string> outside_of(const SearchSpace& space, const Scenario& scenario,
                                    const FoundPlan& plan) {
  std::vector<std::string> outside;
  const auto check = [&](std::string_view name, const auto& tried, const auto& has, bool all = false) {
    if (all || std::find(tried.begin(), tried.end(), has) != tried.end()) return;
    outside.push_back(fmt::format("{} {}", name, has));
  };
  const Sizes& sizes = plan.sizes;
  check("pipeline", space.pipeline, sizes.pipeline);
  check("tensor", space.tensor, sizes.tensor);
  check("context", space.context, sizes.context);
  check("data", space.data, sizes.data, space.data.empty());
  check("expert", space.expert, sizes.expert);
  check("expert_tensor", space.expert_tensor, sizes.expert_tensor);
  check("microbatch", space.microbatch, plan.microbatch);
  const auto none = [&](const auto& choices, auto is_own) {
    return std::none_of(choices.begin(), choices.end(), is_own);
  };
  if (none(space.schedules, [&](const ScheduleChoice& choice) {
        return choice.kind == plan.schedule && choice.chunks == plan.chunks;
      }))
    outside.push_back(plan.chunks > 0 ? fmt::format("{} of {} chunks", plan.schedule, plan.chunks)
                                      : plan.schedule);
  if (none(space.recomputes, [&](const RecomputeChoice& choice) { return choice.names == plan.recompute; }))
    outside.push_back(fmt::format("recompute {}", fmt::join(plan.recompute, "+")));
  if (none(space.syncs, [&](const SyncChoice& choice) { return choice.plan == scenario.gradient_sync; }))
    outside.push_back(plan.gradient_sync);
  if (none(space.placements, [&](const std::vector<Axis>& placement) {
        return Layout(sizes, placement).lays_as(scenario.layout, true);
      }))
    outside.push_back(fmt::format("placement {}", fmt::join(plan.placement, "+")));
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
                            stage_costs(cost, tables.shape_of_layer(), plan.layers_per_stage));
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
