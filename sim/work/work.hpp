// What the devices of a scenario have and do: made once from what was asked, read by lowering and the report.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "sim/scenario/scenario.hpp"
#include "sim/work/expert_loads.hpp"
#include "sim/work/work_times.hpp"

namespace moesim {

/// The work of one step. A pipeline without a model has an order and nothing else; a communication by itself
/// has one rank without passes.
struct Work {
  const Scenario& scenario;  ///< outlives it
  Order order;
  std::vector<double> paces{};  ///< of pipeline ranks: time of their slowest device over the mean
  std::unique_ptr<const ExpertLoads> loads{};  ///< where the ranks of an expert group differ, else null
  std::optional<WorkTimes> times{};            ///< of a model; where loads differ, of the mean rank
};

/// Throws InputError where the durations of passes are more than the schedule can order.
Work work_of(const Scenario& scenario);

/// The pipeline that the schedule is asked for; with a model but for the durations of its passes.
PipelineShape shape_of_pipeline(const Scenario& scenario);

}  // namespace moesim
