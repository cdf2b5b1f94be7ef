// Ways to cut a model's layers into stages.
#pragma once

#include <cstdint>
#include <vector>

namespace moesim {

/// Layers of each stage, at least one, so that the slowest stage is as fast as can be and the others are
/// alike. There are no more stages than layers.
std::vector<std::int64_t> split_layers(const std::vector<double>& seconds_of_layer, double embedding,
                                       double head, std::int64_t stages);

/// Layers of each stage: as many on each, and on the last ones what is left. That is one at least, or with
/// `may_be_empty` none.
std::vector<std::int64_t> fill_layers(std::int64_t layers, std::int64_t stages, bool may_be_empty = false);

}  // namespace moesim
