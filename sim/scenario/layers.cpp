#include "sim/scenario/layers.hpp"

#include <numeric>

#include "sim/schedule/stage.hpp"

namespace moesim {

std::vector<std::int64_t> layers_of(const Scenario& scenario, std::size_t stage) {
  std::vector<std::int64_t> layers(static_cast<std::size_t>(scenario.layers_per_stage[stage]));
  std::iota(layers.begin(), layers.end(), scenario.first_layer(static_cast<std::int64_t>(stage)));
  return layers;
}

std::vector<std::int64_t> layers_of_rank(const Scenario& scenario, std::int64_t pipeline_rank) {
  std::vector<std::int64_t> all;
  for (const HeldStage& held : stages_of(scenario.chains, pipeline_rank)) {
    const std::vector<std::int64_t> layers = layers_of(scenario, held.stage);
    all.insert(all.end(), layers.begin(), layers.end());
  }
  return all;
}

}  // namespace moesim
