#include "sim/scenario/scenario.hpp"

#include <algorithm>
#include <numeric>

namespace moesim {

std::int64_t Scenario::first_layer(std::int64_t model_stage) const {
  return std::accumulate(layers_per_stage.begin(), layers_per_stage.begin() + model_stage, std::int64_t{0});
}

std::int64_t Scenario::place_in_stage(std::int64_t layer) const {
  if (layers_per_stage.empty()) {
    const std::int64_t each = std::ssize(model.layers) / std::max<std::int64_t>(1, stages());
    return layer % std::max<std::int64_t>(1, each);
  }
  std::int64_t place = layer;
  for (const std::int64_t layers : layers_per_stage) {
    if (place < layers) return place;
    place -= layers;
  }
  return place;
}

Precision Scenario::gemm_of(std::size_t layer) const {
  const std::int64_t number = static_cast<std::int64_t>(layer);
  const std::int64_t counted = std::ssize(model.layers) - model.prediction_layers;
  const bool stays =
      number < precision.bf16_at_start || (number >= counted - precision.bf16_at_end && number < counted);
  return stays ? Precision::bf16 : precision.gemm;
}

}  // namespace moesim
