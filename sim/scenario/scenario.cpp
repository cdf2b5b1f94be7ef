#include "sim/scenario/scenario.hpp"

#include <numeric>

namespace moesim {

std::int64_t Scenario::first_layer(std::int64_t model_stage) const {
  return std::accumulate(layers_per_stage.begin(), layers_per_stage.begin() + model_stage, std::int64_t{0});
}

}  // namespace moesim
