// What experts have to go where when they are placed anew.
#pragma once

#include <cstdint>
#include <vector>

#include "models/routing/expert_placement.hpp"

namespace moesim {

/// An expert that comes to a rank of its group which has not held it.
struct ExpertMove {
  std::int32_t expert = 0;
  std::int64_t from = 0, to = 0;  ///< ranks
};

/// Each expert that a rank holds after and not before, once, in the order of ranks and slots: from the rank
/// that held it and has sent least so far, one of the same node where there is one. `nodes` divide the ranks.
std::vector<ExpertMove> moves_between(const ExpertPlacement& before, const ExpertPlacement& after,
                                      std::int64_t nodes);

/// The same placement with what ranks hold handed out so that they keep what they have: among nodes, then
/// among the ranks of each, those with most in common first. Loads are the same, on other ranks of a node,
/// and on other nodes.
ExpertPlacement keeping_places(const ExpertPlacement& before, const ExpertPlacement& after,
                               std::int64_t nodes);

}  // namespace moesim
