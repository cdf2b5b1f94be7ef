// The physical part of every prediction, for those who correct it by measurements.
#pragma once

#include <memory>

#include "models/cost/cost.hpp"

namespace moesim {

std::unique_ptr<const Cost> make_roofline();

}  // namespace moesim
