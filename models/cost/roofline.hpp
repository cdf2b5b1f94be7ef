// The physical part of every prediction, for those who correct it by measurements.
#pragma once

#include <memory>

#include "models/cost/cost.hpp"

namespace moesim {

/// The roofline with `streaming_passes` (1: fused kernels).
std::unique_ptr<const Cost> make_roofline(double streaming_passes);

}  // namespace moesim
