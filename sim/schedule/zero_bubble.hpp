// ZB-H1 and ZB-H2 as orders, for the schedules of that name and for the search that starts from them.
#pragma once

#include "sim/schedule/schedule.hpp"

namespace moesim {

/// 1F1B with split backward and `depth` warm-up forwards for each rank behind: 1 is ZB-H1, 2 is ZB-H2.
Order zero_bubble_order(const PipelineShape& shape, std::int32_t depth);

}  // namespace moesim
