// Which layers of the model stand where in the pipeline.
#pragma once

#include <cstdint>
#include <vector>

#include "sim/scenario/scenario.hpp"

namespace moesim {

/// The layers of a stage of the model, in the order of the forward pass.
std::vector<std::int64_t> layers_of(const Scenario& scenario, std::size_t stage);

/// Those of all stages that a pipeline rank holds, stage by stage.
std::vector<std::int64_t> layers_of_rank(const Scenario& scenario, std::int64_t pipeline_rank);

}  // namespace moesim
