// A sweep as a picture: which axis goes where.
#pragma once

#include <string>
#include <vector>

#include "sim/sweep/measure.hpp"
#include "sim/sweep/sweep.hpp"

namespace moesim {

/// Throws InputError where the plan's axes make no picture: more than two, unless all but one are names.
void check_drawable(const SweepPlan& plan);

/// The finished points as SVG, a picture for each measure: curves over one axis, one for each choice of the
/// axes of names where there are such; else a heat map over two. Keys that change together are one axis,
/// which stands under the first of them. Throws InputError where no point has a measure.
std::string draw_sweep(const SweptPoints& points, const std::vector<Measure>& measures);

}  // namespace moesim
