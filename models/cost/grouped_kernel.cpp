#include "models/cost/grouped_kernel.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>
#include <vector>

#include "models/base/at.hpp"
#include "models/base/whole.hpp"
#include "models/cost/bounds.hpp"

namespace moesim {
namespace {

/// A tile that the kernel is built with, and how fast it takes itself to be with it beside the largest.
struct Variant {
  Tile tile;
  double rate = 1;
};

// kernels/grouped_own.cu: variants_of.
constexpr std::array<Variant, 3> bf16_variants{{{{128, 256}, 1}, {{128, 128}, 0.85}, {{64, 256}, 0.75}}};
constexpr std::array<Variant, 2> fp8_variants{{{{128, 128}, 1}, {{64, 256}, 0.9}}};
constexpr std::int64_t step_bytes = 128;  // of depth that a block takes at once

std::span<const Variant> variants_of(const Op& op) {
  if (op.precision == Precision::fp8) return fp8_variants;
  return bf16_variants;
}

double area(Tile tile) { return real(tile.rows) * real(tile.columns); }

std::int64_t tiles_of_expert(const Op& op, std::int64_t rows, Tile tile) {
  if (rows == 0) return 0;
  return op.rows_are_depth ? product_of({divide_up(op.n, tile.rows), divide_up(op.k, tile.columns)})
                           : product_of({divide_up(rows, tile.rows), divide_up(op.n, tile.columns)});
}

std::int64_t tiles_of(const Op& op, Tile tile) {
  std::int64_t tiles = 0;
  for (const std::int64_t rows : op.rows) tiles = sum_of(tiles, tiles_of_expert(op, rows, tile));
  return tiles;
}

/// The tile with which whole waves are fewest by its rate.
Tile chosen_tile(const Op& op, const Device& device) {
  Tile best;
  double least = std::numeric_limits<double>::infinity();
  for (const Variant& variant : variants_of(op)) {
    const std::int64_t waves = divide_up(tiles_of(op, variant.tile), device.multiprocessors);
    const double cost = real(waves) * area(variant.tile) / variant.rate;
    if (cost >= least) continue;
    least = cost;
    best = variant.tile;
  }
  return best;
}

/// Tiles of unequal depth, handed out to the blocks in turn: the block with most depth is the last.
void hand_out(const Op& op, std::int64_t step, std::int64_t blocks, GroupedWork& work) {
  struct Share {
    double tiles = 0, depth = 0;
  };
  // What changes from one block to the next; what all blocks have alike stands with the first.
  std::vector<Share> change(static_cast<std::size_t>(blocks + 1));
  const auto add = [&](std::int64_t block, double tiles, double depth) {
    at(change, block).tiles += tiles;
    at(change, block).depth += tiles * depth;
  };
  std::int64_t first = 0;  // block of the expert's first tile
  for (const std::int64_t rows : op.rows) {
    const std::int64_t own = tiles_of_expert(op, rows, work.tile);
    const double depth = real(divide_up(rows, step) * step);
    const std::int64_t more = own % blocks, end = first + more;
    work.depth += real(own) * depth;
    add(0, real(own / blocks), depth);
    add(first, 1, depth);
    add(std::min(end, blocks), -1, depth);
    if (end > blocks) add(0, 1, depth), add(end - blocks, -1, depth);
    first = end % blocks;
  }
  Share block;
  for (std::int64_t i = 0; i < blocks; ++i) {
    block.tiles += at(change, i).tiles;
    block.depth += at(change, i).depth;
    if (block.depth <= work.busiest_depth) continue;
    work.busiest_depth = block.depth;
    work.busiest_tiles = block.tiles;
  }
}

}  // namespace

bool serves_grouped(const Op& op) {
  if (op.kind != OpKind::grouped_gemm || (op.precision == Precision::fp8 && op.rows_are_depth)) return false;
  if (op.precision != Precision::bf16 && op.precision != Precision::fp8) return false;
  const std::int64_t elements = 16 / size_of(op.precision).count;
  return op.n % elements == 0 && op.k % elements == 0;
}

GroupedWork grouped_work(const Op& op, const Device& device) {
  const std::int64_t step = step_bytes / size_of(op.precision).count;
  GroupedWork work{.tile = chosen_tile(op, device)};
  work.tiles = tiles_of(op, work.tile);
  if (op.rows_are_depth) {
    hand_out(op, step, device.multiprocessors, work);
    return work;
  }
  const double depth = real(divide_up(op.k, step) * step);
  work.busiest_tiles = real(divide_up(work.tiles, device.multiprocessors));
  work.busiest_depth = work.busiest_tiles * depth;
  work.depth = real(work.tiles) * depth;
  return work;
}

Time grouped_kernel_time(const Op& op, const GroupedWork& work, const Device& device,
                         const GemmBehaviour& kernel) {
  const double element = bytes_each(op.precision);
  const double blocks = work.busiest_depth * step_time(kernel, device, work.tile, element) +
                        work.busiest_tiles * to_seconds(kernel.tile_overhead);
  // Rows of a tile that an expert does not have are multiplied all the same, and take power.
  const double power = 2 * work.depth * area(work.tile) / (kernel.peak.count * kernel.sustained);
  return under({.compute = std::max(blocks, power),
                .memory = traffic(device, op),
                .overhead = launches(op, device) + to_seconds(kernel.kernel_overhead),
                .unhidden = kernel.unhidden})
      .time;
}

SurfacePoint grouped_kernel_place(const Op& op, const GroupedWork& work, const Device& device) {
  const double rate = device.gemm_in(op.precision).peak.count / real(device.multiprocessors);
  const double arithmetic = 2 * work.busiest_depth * area(work.tile) / std::max(1.0, rate);
  const double waves = std::max(1e-3, real(work.tiles) / real(device.multiprocessors));
  std::int64_t rows = 0;
  for (const std::int64_t own : op.rows) rows += own;
  return {std::log2(waves),
          std::log2(std::max(1.0, real(rows))),
          std::log2(std::max(1.0, real(op.n))),
          std::log2(std::max(1.0, real(op.k))),
          2 * std::log2(std::max(1e-12, arithmetic) / std::max(1e-12, traffic(device, op))),
          3 * std::log2(std::ceil(waves) / waves)};
}

}  // namespace moesim
