#include "sim/work/shard_groups.hpp"

namespace moesim {
namespace {

/// Each group as rows of ranks that share and columns of ranks that hold the same.
std::vector<Group> cut(const std::vector<Group>& groups, const GradientPlan& plan, bool into_rows) {
  std::vector<Group> parts;
  for (const Group& group : groups) {
    const auto ranks = static_cast<std::int64_t>(group.size());
    const auto row = static_cast<std::size_t>(plan.shards_over(ranks));
    const std::size_t rows = group.size() / row;
    const std::size_t first = parts.size();
    parts.resize(first + (into_rows ? rows : row));
    for (std::size_t i = 0; i < group.size(); ++i)
      parts[first + (into_rows ? i / row : i % row)].push_back(group[i]);
  }
  return parts;
}

}  // namespace

std::vector<Group> shard_groups(const std::vector<Group>& groups, const GradientPlan& plan) {
  return cut(groups, plan, true);
}

std::vector<Group> replica_groups(const std::vector<Group>& groups, const GradientPlan& plan) {
  return cut(groups, plan, false);
}

std::vector<std::vector<Group>> groups_of_shards(const Scenario& scenario) {
  const GradientPlan& plan = scenario.gradient_sync;
  if (plan.shard_ranks == 0) return {};
  const std::vector<Group> data = scenario.layout.data_groups();
  const std::vector<Group> experts = scenario.layout.expert_data_groups();
  return {shard_groups(data, plan), replica_groups(data, plan), shard_groups(experts, plan),
          replica_groups(experts, plan)};
}

}  // namespace moesim
