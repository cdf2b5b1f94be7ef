#include "sim/scenario/fold.hpp"

#include <numeric>
#include <set>

namespace moesim {
namespace {

Fold every_position(std::size_t positions) {
  Fold fold{.count = static_cast<std::uint32_t>(positions), .representatives = {}};
  fold.representatives.resize(positions);
  std::iota(fold.representatives.begin(), fold.representatives.end(), 0U);
  return fold;
}

Fold by_expert_rank(const Layout& layout) {
  Fold fold{.count = static_cast<std::uint32_t>(layout.sizes().expert), .representatives = {}};
  fold.representatives.resize(static_cast<std::size_t>(layout.sizes().stage_devices()));
  for (const Group& group : layout.expert_groups()) {
    for (std::uint32_t rank = 0; rank < group.size(); ++rank) fold.representatives[group[rank]] = rank;
  }
  return fold;
}

/// Whether any two of the groups fold to the same representatives or have none in common: then each
/// representative has one communicator of their kind.
bool keeps_apart(const Fold& fold, const std::vector<Group>& groups) {
  std::vector<std::set<std::uint32_t>> of_representative(fold.count);
  for (const Group& group : groups) {
    std::set<std::uint32_t> members;
    for (const std::uint32_t position : group) members.insert(fold.of(position));
    for (const std::uint32_t member : members) {
      if (of_representative[member].empty()) of_representative[member] = members;
      if (of_representative[member] != members) return false;
    }
  }
  return true;
}

}  // namespace

Fold fold_of(const Scenario& scenario, Loading loading) {
  const Layout& layout = scenario.layout;
  const auto positions = static_cast<std::size_t>(layout.sizes().stage_devices());
  const Fold one{.count = 1, .representatives = std::vector<std::uint32_t>(positions, 0)};
  if (loading == Loading::even) return one;
  if (scenario.resolution == Resolution::full) return every_position(positions);
  if (!has_uneven_loads(scenario)) return one;
  Fold fold = by_expert_rank(layout);
  for (const std::vector<Group>& groups :
       {layout.tensor_groups(), layout.context_groups(), layout.data_groups(), layout.expert_data_groups(),
        layout.expert_tensor_groups()}) {
    if (!keeps_apart(fold, groups)) return every_position(positions);
  }
  return fold;
}

}  // namespace moesim
