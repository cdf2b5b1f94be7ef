// The heuristic of the zero-bubble paper (Qi et al., arXiv 2401.10241, section 3.1): forwards until the first
// B comes back, then rounds of one F and one B on every rank, with W's in the gaps.
#pragma once

#include "sim/schedule/greedy.hpp"

namespace moesim {

/// The paper's yes-or-no choices, of which a search tries all.
struct RoundsRule {
  bool late_forward = false;  ///< one more forward before the first B, although it holds the B up
  bool skip_forward =
      false;  ///< a rank two forwards ahead of the next leaves one out where that costs nothing
  bool always_fill = false;  ///< a W in every gap, also where a rank has waited less than the worst one
};

/// The order that the rule makes of the durations in `shape`; each rank stays within the limit, which is at
/// least one.
Plan rounds_plan(const PipelineShape& shape, const ActivationLimit& limit, const RoundsRule& rule);

}  // namespace moesim
