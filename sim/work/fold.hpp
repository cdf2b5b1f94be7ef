// Which devices of a pipeline rank are simulated, and for whom each of them stands.
#pragma once

#include <cstdint>
#include <vector>

#include "sim/scenario/scenario.hpp"

namespace moesim {

/// Positions of a pipeline rank that do the same at the same time share a representative.
struct Fold {
  std::uint32_t count = 1;                     ///< representatives: 0 .. count-1
  std::vector<std::uint32_t> representatives;  ///< by position
  std::uint32_t of(std::uint32_t position) const { return representatives[position]; }
};

/// Whose loads are simulated.
enum class Loading : std::uint8_t {
  as_routed,  ///< those that the scenario's router decides
  even,       ///< the same for every rank: what imbalance is measured against
};

/// Where a device is.
struct DevicePlace {
  std::int64_t pipeline_rank = 0;
  std::uint32_t position = 0;
};
DevicePlace place_of(const Scenario& scenario, DeviceId device);

/// Even loads: one position stands for all, unless `full` asks for every position of a scenario as routed.
/// Uneven loads, `folded`: positions of the same rank in their expert groups do the same, since one group's
/// loads stand for those of all; where a group of another kind (tensor, data) would then mix ranks that do
/// not, every position stands for itself.
///
/// Faults break symmetry. A straggler's position stands for itself, and the rest is split as far as needed:
/// positions stay together if their groups of every kind, and their nodes, hold as many of each class. A link
/// of one node does the same with all devices of that node; one between switches, and jitter, unfold
/// everything.
///
/// That much is known before there is traffic. Whether the fabric treats the groups of a class alike is seen
/// once it is lowered (sim/lower/likeness.hpp), which then asks for `split`.
Fold fold_of(const Scenario& scenario, Loading loading);

/// Splits classes: positions stay together where their signatures are equal and their groups of every kind
/// hold as many of each class.
Fold split(const Scenario& scenario, Fold fold, std::vector<std::vector<std::uint32_t>> signatures);

/// A graph with more tasks than that is an error of the sizes, not of the machine: 70 bytes each.
inline constexpr double most_tasks = 2e8;

}  // namespace moesim
