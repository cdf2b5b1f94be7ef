// The parts of a scenario that are no family: each reads its keys, and knows no other part.
#pragma once

#include <string_view>
#include <vector>

#include "sim/scenario/scenario.hpp"

namespace moesim {

/// Sizes as given, before the cluster decides the data-parallel size.
struct Parallelism {
  Sizes sizes;
  std::vector<Axis> placement;
  std::vector<std::int64_t> layers_per_stage;
};

Batch read_batch(Reader reader);
Parallelism read_parallelism(Reader reader);
PrecisionPlan read_precision_plan(Reader reader);
/// What gradients need of the collectives depends on how they are synchronised.
Collectives read_collectives(Reader reader, const Fabric& fabric, const GradientPlan& gradients);
/// What every kind of routing has.
struct RoutingDraws {
  std::uint64_t seed = 1;
  double spread = 0;  ///< of the rows of a rank: standard deviation over mean
};
RoutingDraws read_routing_draws(Reader& reader);

/// Sizes of a pipeline that has no model.
struct PipelineSizes {
  std::int64_t stages = 1;        ///< pipeline ranks
  std::int64_t microbatches = 1;  ///< of a step, both directions together
};
PipelineSizes read_pipeline_sizes(Reader reader);
/// Durations as given: of one chunk, or of one rank for schedules that split them over its chunks.
PassDurations read_fixed_cost(Reader reader);
/// Reads the scenario's own key "recompute".
Recompute read_recompute(Reader& reader);

/// The part of that name, or one without keys where it is not given.
Reader part_or_empty(Reader& reader, std::string_view name, std::string_view help);

}  // namespace moesim
