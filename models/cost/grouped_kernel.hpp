// The kernel for grouped products that moesim-measure brings (kernels/grouped_kernel.hpp), as physics: blocks
// that stay, one a multiprocessor, go through the tiles of all experts in turn.
#pragma once

#include "models/cost/cost.hpp"
#include "models/cost/surface.hpp"

namespace moesim {

/// Whether the kernel serves the op: rows of its matrices in whole 16 bytes, and no weight gradients in fp8.
bool serves_grouped(const Op& op);

/// What the blocks do for an op, whatever the kernel's speed: steps of depth are counted whole, and the
/// choice of tile is the kernel's own.
struct GroupedWork {
  Tile tile;
  std::int64_t tiles = 0;
  double depth = 0;  ///< of all tiles together
  double busiest_tiles = 0, busiest_depth = 0;
};
GroupedWork grouped_work(const Op& op, const Device& device);

/// The time of `op`, whose work is `work`, by a kernel that behaves as `kernel` does.
Time grouped_kernel_time(const Op& op, const GroupedWork& work, const Device& device,
                         const GemmBehaviour& kernel);

/// Where an op stands on the surface of what that time misses: logarithms to base 2 of tiles for a
/// multiprocessor, rows of all experts, width and depth, and, in steps that count for more, how much longer
/// arithmetic at the peak takes than traffic, and how much of the last wave is empty.
SurfacePoint grouped_kernel_place(const Op& op, const GroupedWork& work, const Device& device);

}  // namespace moesim
