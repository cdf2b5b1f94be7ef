#include "sim/work/fold.hpp"

#include <algorithm>
#include <map>
#include <numeric>
#include <set>
#include <stdexcept>

#include "sim/work/expert_loads.hpp"
#include "sim/work/shard_groups.hpp"

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

/// Which devices a link's speed reaches directly: those of the node that it belongs to; nothing where it may
/// be all.
std::vector<DeviceId> devices_at(const Fabric& fabric, const LinkFault& fault) {
  std::vector<DeviceId> devices;
  for (const std::uint32_t end : fault.ends) {
    const std::uint32_t node = end < fabric.device_count() ? fabric.node_of(static_cast<DeviceId>(end))
                                                           : fabric.vertices()[end].node;
    if (node == no_node) continue;
    const std::uint32_t size = fabric.devices_per_node();
    for (std::uint32_t i = 0; i < size; ++i) devices.push_back(node * size + i);
  }
  return devices;
}

/// Whether traffic of other nodes goes over links of that class: in grids and between switches.
bool carries_others(const Fabric& fabric, const LinkFault& fault) {
  for (const int from : {0, 1}) {
    for (const LinkId id : fabric.links_between(fault.ends[from], fault.ends[1 - from])) {
      const LinkClass kind = fabric.link(id).link_class;
      if (kind != LinkClass::nvlink && kind != LinkClass::pcie && kind != LinkClass::infiniband &&
          kind != LinkClass::ethernet && kind != LinkClass::on_chip)
        return true;
    }
  }
  return false;
}

/// Gives a class of its own to each position that a fault touches; returns whether it touches only some.
bool mark_touched(const Scenario& scenario, Fold& fold) {
  if (scenario.faults.jitter.deviation > 0 || scenario.faults.paces == DevicePaces::each) return false;
  std::set<std::uint32_t> touched;
  for (const Straggler& straggler : scenario.faults.stragglers)
    touched.insert(place_of(scenario, straggler.device).position);
  for (const LinkFault& fault : scenario.faults.links) {
    if (carries_others(scenario.fabric(), fault)) return false;
    for (const DeviceId device : devices_at(scenario.fabric(), fault))
      touched.insert(place_of(scenario, device).position);
  }
  for (const std::uint32_t position : touched) fold.representatives[position] = fold.count++;
  return true;
}

/// The positions of pipeline rank 0 that lie on one node.
std::vector<Group> node_groups(const Scenario& scenario) {
  std::map<std::uint32_t, Group> nodes;
  for (std::uint32_t position = 0; position < scenario.layout.sizes().stage_devices(); ++position)
    nodes[scenario.fabric().node_of(scenario.layout.device(0, position))].push_back(position);
  std::vector<Group> groups;
  for (auto& [node, group] : nodes) groups.push_back(std::move(group));
  return groups;
}

std::vector<std::vector<Group>> groups_of(const Scenario& scenario) {
  const Layout& layout = scenario.layout;
  std::vector<std::vector<Group>> kinds = groups_of_shards(scenario);
  kinds.insert(kinds.end(),
               {layout.tensor_groups(), layout.context_groups(), layout.data_groups(), layout.expert_groups(),
                layout.expert_data_groups(), layout.expert_tensor_groups()});
  return kinds;
}

std::uint32_t number_in(std::map<std::vector<std::uint32_t>, std::uint32_t>& known,
                        std::vector<std::uint32_t> key) {
  const auto next = static_cast<std::uint32_t>(known.size());
  return known.try_emplace(std::move(key), next).first->second;
}

/// Positions stay in one class where their signatures are equal. Classes are numbered by their first
/// position.
void classify(Fold& fold, std::vector<std::vector<std::uint32_t>> signatures) {
  std::map<std::vector<std::uint32_t>, std::uint32_t> classes;
  for (std::size_t p = 0; p < signatures.size(); ++p) {
    signatures[p].push_back(fold.representatives[p]);
    fold.representatives[p] = number_in(classes, std::move(signatures[p]));
  }
  fold.count = static_cast<std::uint32_t>(classes.size());
}

/// Splits classes until each position of a class has groups that hold as many of each class: colour
/// refinement (Weisfeiler and Leman, 1968).
void refine(Fold& fold, const std::vector<std::vector<Group>>& kinds) {
  for (std::uint32_t before = 0; before != fold.count;) {
    before = fold.count;
    std::vector<std::vector<std::uint32_t>> signatures(fold.representatives.size());
    std::map<std::vector<std::uint32_t>, std::uint32_t> crowds;
    for (const std::vector<Group>& groups : kinds) {
      for (const Group& group : groups) {
        std::vector<std::uint32_t> members;
        for (const std::uint32_t position : group) members.push_back(fold.of(position));
        std::sort(members.begin(), members.end());
        const std::uint32_t number = number_in(crowds, std::move(members));
        for (const std::uint32_t position : group) signatures[position].push_back(number);
      }
    }
    classify(fold, std::move(signatures));
  }
}

Fold without_faults(const Scenario& scenario, Loading loading) {
  const Layout& layout = scenario.layout;
  const auto positions = static_cast<std::size_t>(layout.sizes().stage_devices());
  Fold one{.count = 1, .representatives = std::vector<std::uint32_t>(positions, 0)};
  if (loading == Loading::even) return one;
  if (scenario.resolution == Resolution::full) return every_position(positions);
  if (!has_uneven_loads(scenario)) return one;
  Fold fold = by_expert_rank(layout);
  for (const std::vector<Group>& groups : groups_of(scenario)) {
    if (!keeps_apart(fold, groups)) return every_position(positions);
  }
  return fold;
}

}  // namespace

DevicePlace place_of(const Scenario& scenario, DeviceId device) {
  if (scenario.fixed) return {static_cast<std::int64_t>(device), 0};
  const Sizes& sizes = scenario.layout.sizes();
  for (std::int64_t rank = 0; rank < sizes.pipeline; ++rank) {
    for (std::uint32_t position = 0; position < sizes.stage_devices(); ++position) {
      if (scenario.layout.device(rank, position) == device) return {rank, position};
    }
  }
  throw std::logic_error("every device has a place");
}

Fold fold_of(const Scenario& scenario, Loading loading) {
  Fold fold = without_faults(scenario, loading);
  if (!scenario.faults.change_steps() || scenario.fixed) return fold;
  const std::size_t positions = fold.representatives.size();
  if (fold.count == positions || !mark_touched(scenario, fold)) return every_position(positions);
  std::vector<std::vector<Group>> kinds = groups_of(scenario);
  kinds.push_back(node_groups(scenario));
  refine(fold, kinds);
  return fold;
}

Fold split(const Scenario& scenario, Fold fold, std::vector<std::vector<std::uint32_t>> signatures) {
  classify(fold, std::move(signatures));
  refine(fold, groups_of(scenario));
  return fold;
}

}  // namespace moesim
