// How long one block of a layer takes on one device.
#pragma once

#include <array>

#include "models/base/at.hpp"
#include "models/base/units.hpp"
#include "models/transformer/op.hpp"

namespace moesim {

/// A compute time: alone, and how much longer while communication holds multiprocessors.
struct Timed {
  Time time;
  double slowdown = 1;
};

/// One block in the passes of OpPass.
struct BlockTimes {
  std::array<Timed, 3> passes;
  const Timed& in(OpPass pass) const { return at(passes, pass); }
};

/// Shares of the parts of a layer, by LayerPart, in the time of a block; they add up to 1.
using PartShares = std::array<double, layer_part_count>;

/// Those of one block in the passes of OpPass, as its ops divide it when they run alone.
using BlockShares = std::array<PartShares, 3>;

}  // namespace moesim
