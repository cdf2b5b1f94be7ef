// 1F1B as an order, for the schedule of that name and for the search that starts from it.
#pragma once

#include "sim/schedule/schedule.hpp"

namespace moesim {

/// One forward and one backward in turn after a warm-up; with overlap they share the device, at twice the
/// warm-up.
Order one_f_one_b_order(const PipelineShape& shape, bool overlap);

}  // namespace moesim
