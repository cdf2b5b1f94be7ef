// Whether one actor may stand for its peers: what each group of a communication puts on the fabric by itself.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "sim/graph/task_graph.hpp"
#include "sim/work/fold.hpp"

namespace moesim {

/// What one group of a communication does by itself.
struct Footprint {
  std::span<const DeviceId> devices;  ///< of the group
  std::uint32_t first_link = 0, link_count = 0;
  Time latency{};
  double flow_bytes = 0;
  double alone = 0;  ///< ps that its bytes take alone; 0 where that makes no difference
};

/// The footprints of all patterns that stand for several groups.
struct Footprints {
  struct Whole {
    PatternId pattern = nothing;
    std::uint32_t first_group = 0, group_count = 0;
    std::uint32_t first_part = 0;  ///< into `group_of_part`, where the pattern goes part by part
  };
  std::vector<Whole> wholes;
  std::vector<Footprint> groups;
  std::vector<LinkId> links;                 ///< that each group uses; some may be there twice
  std::vector<std::uint32_t> group_of_part;  ///< into the whole's groups
};

/// The position of each device in its pipeline rank.
std::vector<std::uint32_t> positions_of_devices(const Scenario& scenario);

/// The fold, split as far as groups that fold to the same actors are not alike.
///
/// They are alike if links and groups fall into classes so that each link of a class is as busy with each
/// kind of communication as any other, and each group uses links of the same classes: an equitable partition.
/// Rates then rise and saturate in all of a class at once, so that groups which start together end together.
/// Resources of the graph are such classes of links, since a link that never binds holds nobody up. Where
/// parts of a communication have rates of their own, classes are found by colour refinement. Groups also
/// differ by their latencies and the sizes of their flows; without contention by these and the time that each
/// takes alone.
Fold split_unlike(const Scenario& scenario, const Fold& fold, const TaskGraph& graph,
                  const Footprints& footprints);

}  // namespace moesim
