// By how much copies of activations to the host's memory and back hold up the passes of a stage: as lowering
// makes them (sim/lower/host_copies.hpp), with the pass alone on its rank. The last layer's stay on the
// device, as they do where nothing else lies between forward and backward; with more in between they leave
// and come back beside that.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "models/base/at.hpp"
#include "sim/estimate/price.hpp"
#include "sim/layer/issue.hpp"

namespace moesim {

/// Where a pass through a layer meets the copies of one of its blocks.
struct CopyMark {
  ActKind kind = ActKind::leaves;
  std::size_t block = 0;  ///< attention, feed-forward
  Time after;             ///< from the mark before it, or the pass's beginning
  friend bool operator==(const CopyMark&, const CopyMark&) = default;
};

/// Of a layer: what its blocks copy one way, and where its passes meet that, by Pass.
struct LayerCopies {
  std::array<Time, 2> times{};
  std::array<std::vector<CopyMark>, 4> marks{};
  std::array<Time, 4> rest{};  ///< behind the last mark
  bool is_none() const { return times[0] == Time{} && times[1] == Time{}; }
  friend bool operator==(const LayerCopies&, const LayerCopies&) = default;
};

/// What is added to a pass through such layers, given in the order of the pass.
Time held_up(std::span<const LayerCopies* const> layers, Pass pass);

}  // namespace moesim
