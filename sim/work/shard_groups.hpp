// Ranks that hold the same parameters, cut into those that share them and those that hold them again.
#pragma once

#include <vector>

#include "sim/scenario/scenario.hpp"

namespace moesim {

/// The groups in which all is sharded, of groups that hold the same: neighbours, as many as the plan says.
std::vector<Group> shard_groups(const std::vector<Group>& groups, const GradientPlan& plan);
/// The groups that hold the same shard; of one rank each where all ranks share.
std::vector<Group> replica_groups(const std::vector<Group>& groups, const GradientPlan& plan);

/// Both, of replicated parameters and of experts, where the plan has shards over part of the ranks.
std::vector<std::vector<Group>> groups_of_shards(const Scenario& scenario);

}  // namespace moesim
