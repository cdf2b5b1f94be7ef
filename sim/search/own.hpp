// The plan that the scenario of a search has itself: what it is, whether the search would try it, and its
// estimate.
#pragma once

#include "sim/search/space.hpp"

namespace moesim {

/// Its own plan, not yet simulated; where the scenario cannot run, why. `base` is the scenario as tables of
/// estimates take it.
OwnPlan own_plan_of(const Value& document, const SearchSpace& space, Scenario base);

}  // namespace moesim
