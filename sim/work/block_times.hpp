// How long one block of a layer takes on one device.
#pragma once

#include <array>

#include "models/base/at.hpp"
#include "models/base/units.hpp"
#include "models/transformer/op.hpp"
#include "sim/work/host_path.hpp"

namespace moesim {

/// A compute time: alone, how much longer while communication holds multiprocessors, and how much longer that
/// communication takes meanwhile.
struct Timed {
  Time time;
  double slowdown = 1, communication = 1;
  HostPath host{};  ///< nothing where no host holds anything up
};

/// One block in the passes of OpPass.
struct BlockTimes {
  std::array<Timed, 3> passes;
  const Timed& in(OpPass pass) const { return at(passes, pass); }
};

/// Shares of the parts of a layer, by LayerPart, in the time of a block; they add up to 1.
using PartShares = std::array<double, layer_part_count>;

/// Kernels of one class in a block on one device.
struct ClassShare {
  double time = 0;   ///< of the block's
  double bytes = 0;  ///< that they move in device memory
  double launches = 0;
  double joules = 0;  ///< that the device draws for them, beyond idle
};
/// By KernelClass; times add up to 1.
using ClassShares = std::array<ClassShare, kernel_class_count>;

/// What a block is made of in one pass, as its kernels divide it when they run alone.
struct PassShares {
  PartShares parts{};
  ClassShares classes{};
};
/// In the passes of OpPass.
using BlockShares = std::array<PassShares, 3>;

}  // namespace moesim
