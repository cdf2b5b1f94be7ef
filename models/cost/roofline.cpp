// A roofline that knows shapes: the arithmetic of an op as tiles in waves over the multiprocessors, its
// traffic over the bandwidth of device memory, launch and kernel overheads on top. Roofline: Williams,
// Waterman, Patterson (CACM 2009); tiles and waves: NVIDIA, "Matrix Multiplication Background User's Guide".
// All operands are taken to come from device memory: what an op before left in the last-level cache is not
// counted. What each number of a device was fitted on stands in docs/devices.md.
#include "models/cost/roofline.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <limits>
#include <span>

#include "models/base/at.hpp"
#include "models/base/error.hpp"
#include "models/base/whole.hpp"
#include "models/cost/bounds.hpp"

namespace moesim {
namespace {

// Parts into which a kernel may split the depth, and the depth below which it never does: a part must fill
// the pipeline several times over.
constexpr std::array<std::int64_t, 6> split_parts{1, 2, 3, 4, 6, 8};
constexpr std::int64_t shallowest_part = 256;

/// Multiprocessors that an op may use, and their clock over the full one.
struct SmShare {
  std::int64_t multiprocessors = 1;
  double interference = 1;
  double clock = 1;
  double traffic = 1;  ///< how much longer traffic to device memory takes at that clock
};

SmShare share_of(const Op& op, const Device& device, const DeviceState& state) {
  const std::int64_t held = std::max<std::int64_t>(0, state.held.multiprocessors);
  const double share = device.power ? device.power->traffic : 0;
  return {.multiprocessors = std::max<std::int64_t>(1, device.multiprocessors - held),
          .interference = beside_communication(device, beside_of(op), state.held).compute,
          .clock = state.clock,
          .traffic = 1 + share * (1 / state.clock - 1)};
}

const GemmBehaviour& behaviour(const Device& device, Precision precision) {
  const GemmBehaviour& gemm = device.gemm_in(precision);
  if (gemm.peak.count > 0) return gemm;
  const std::string_view name = at(precision_names, precision);
  throw InputError(device.name, fmt::format("has no matrix products in {}, its file gives none under gemm.{}",
                                            name, name));
}

/// One product in one tiling: waves of tiles, the depth split into `parts`.
struct Tiling {
  std::int64_t tiles = 0;
  std::int64_t depth = 0;
  double step = 0;     ///< seconds per step of depth
  double outputs = 0;  ///< elements of the result
};

/// Partial sums in fp32 are written to the cache and read back; what does not fit goes to memory.
double reduction_time(double bytes, const Device& device) {
  const double cached = std::min(bytes, real(device.cache.count));
  return 2 * (cached / device.cache_bandwidth.count +
              (bytes - cached) / (device.memory_bandwidth.count * device.memory_efficiency));
}

double split_time(const Tiling& tiling, std::int64_t parts, const Device& device, const GemmBehaviour& gemm,
                  const SmShare& share) {
  const std::int64_t waves = divide_up(product_of({tiling.tiles, parts}), share.multiprocessors);
  const double wave = tiling.step * real(divide_up(tiling.depth, parts)) + to_seconds(gemm.tile_overhead);
  if (parts == 1) return real(waves) * wave;
  return real(waves) * wave + to_seconds(gemm.split_overhead) +
         reduction_time(4 * real(parts) * tiling.outputs, device);
}

/// The best split of the depth. A split that needs a second wave gains nothing.
double best_split(const Tiling& tiling, const Device& device, const GemmBehaviour& gemm,
                  const SmShare& share) {
  double best = split_time(tiling, 1, device, gemm, share);
  for (const std::int64_t parts : split_parts) {
    if (!gemm.may_split || product_of({tiling.tiles, parts}) > share.multiprocessors ||
        tiling.depth / parts < shallowest_part)
      break;
    best = std::min(best, split_time(tiling, parts, device, gemm, share));
  }
  return best;
}

/// Products of rows[i] x n over k: tiles are counted expert by expert, waves over all of them.
double products_of_rows(const Op& op, const Device& device, const GemmBehaviour& gemm, const SmShare& share) {
  const double element = bytes_each(op.precision);
  const std::array<std::int64_t, 1> single{op.m};
  const std::span<const std::int64_t> rows = op.kind == OpKind::grouped_gemm
                                                 ? std::span<const std::int64_t>(op.rows)
                                                 : std::span<const std::int64_t>(single);
  double best = std::numeric_limits<double>::infinity();
  std::int64_t down = 0, counted = 0;  // tiles one above the other, for tiles of `counted` rows
  for (const Tile tile : gemm.tiles) {
    if (tile.rows != counted) {
      counted = tile.rows;
      down = 0;
      for (const std::int64_t m : rows) down += divide_up(m, tile.rows);
    }
    const Tiling tiling{.tiles = product_of({down, divide_up(op.n, tile.columns)}),
                        .depth = op.k,
                        .step = step_time(gemm, device, tile, element),
                        .outputs = real(op.m) * real(op.n)};
    const bool single_product = op.kind == OpKind::gemm;
    best = std::min(best, single_product ? best_split(tiling, device, gemm, share)
                                         : split_time(tiling, 1, device, gemm, share));
  }
  return best;
}

/// Weight gradients of experts: each an n x k product over rows[i]. Tiles of unequal depth fill the waves;
/// the last, incomplete wave costs a tile of mean depth.
double products_over_rows(const Op& op, const Device& device, const GemmBehaviour& gemm,
                          const SmShare& share) {
  const double element = bytes_each(op.precision);
  double best = std::numeric_limits<double>::infinity();
  for (const Tile tile : gemm.tiles) {
    const double step = step_time(gemm, device, tile, element);
    const std::int64_t each = product_of({divide_up(op.n, tile.rows), divide_up(op.k, tile.columns)});
    std::int64_t tiles = 0;
    double work = 0;
    double longest = 0;
    for (const std::int64_t depth : op.rows) {
      if (depth == 0) continue;
      const double unit = step * real(depth) + to_seconds(gemm.tile_overhead);
      tiles = sum_of(tiles, each);
      work += real(each) * unit;
      longest = std::max(longest, unit);
    }
    if (tiles == 0) return 0;
    const double waves = real(divide_up(tiles, share.multiprocessors));
    best = std::min(best, std::max(longest, waves * work / real(tiles)));
  }
  return best;
}

/// After its depth a tile of a weight gradient reads its part of the sums and writes it, and its
/// multiprocessor has no products meanwhile: seconds of that. Sums are what traffic has beside operands.
double exposed_sums(const Op& op, const Device& device, const GemmBehaviour& gemm) {
  if (op.pass != OpPass::backward_weight || gemm.exposed_sums <= 0) return 0;
  const double n = real(op.n);
  const double operands = op.kind == OpKind::grouped_gemm ? op.flops.count / 2 * (1 / n + 1 / real(op.k))
                                                          : real(op.k) * (real(op.m) + n);
  const double element = bytes_each(op.precision);
  const double sums = std::max(0.0, real(op.bytes.count) - operands * element);
  return gemm.exposed_sums * sums / (device.memory_bandwidth.count * device.memory_efficiency);
}

Bounds product(const Op& op, const Device& device, const SmShare& share) {
  const GemmBehaviour& gemm = behaviour(device, op.precision);
  if (op.flops.count <= 0) return {};
  const bool over_rows = op.kind == OpKind::grouped_gemm && op.rows_are_depth;
  const double waves =
      over_rows ? products_over_rows(op, device, gemm, share) : products_of_rows(op, device, gemm, share);
  // What the chip sustains is a rate of its own, however few multiprocessors do the work.
  const double knee = device.power ? device.power->knee : 1;
  const double sustained =
      op.flops.count / (gemm.peak.count * gemm.sustained) * std::max(1.0, knee / share.clock);
  const double products = std::max(waves * share.interference / share.clock, sustained);
  return {products + exposed_sums(op, device, gemm) * share.traffic, traffic(device, op) * share.traffic,
          launches(op, device) + to_seconds(gemm.kernel_overhead), gemm.unhidden};
}

/// The work of a fused attention: tiles of queries, each with the keys it sees.
struct AttentionTiles {
  double tiles = 0;    ///< of one head of one sequence
  double keys = 0;     ///< of all these tiles together
  double longest = 0;  ///< keys of the tile with most of them
};

AttentionTiles attention_tiles(const Op& op, std::int64_t tile_rows) {
  const std::int64_t keys = op.kv_sequence > 0 ? op.kv_sequence : op.sequence;
  const std::int64_t offset = keys - op.sequence;
  AttentionTiles work;
  for (std::int64_t first = 0; first < op.sequence; first += tile_rows) {
    const std::int64_t last = std::min(first + tile_rows, op.sequence);
    const std::int64_t end = op.causal ? std::clamp<std::int64_t>(last + offset, 0, keys) : keys;
    const std::int64_t begin =
        op.window > 0 ? std::clamp<std::int64_t>(first + offset - op.window + 1, 0, end) : 0;
    work.tiles += 1;
    work.keys += real(end - begin);
    work.longest = std::max(work.longest, real(end - begin));
  }
  return work;
}

/// Widest head whose tiles are whole: accumulators of wider ones do not fit beside each other, and their
/// tiles are smaller (FlashAttention-3, arXiv 2407.08608, and the backward pass of cuDNN with heads of 192
/// and 128).
constexpr std::int64_t widest_of_whole_tiles = 128;

/// What a fused attention takes for a key of one query, in seconds of one multiprocessor.
struct KeyTime {
  double products = 0;
  double scores = 0;
  double unhidden = 1;
  double both() const { return std::max(products, scores) + unhidden * std::min(products, scores); }
};

/// Forward: scores and weighted values. Backward: scores again, and the gradients of values, weights, queries
/// and keys (FlashAttention-2, arXiv 2307.08691, algorithm 2).
double product_flops(const Op& op) {
  const double head = real(op.head_dim);
  const double value = real(op.value_head_dim > 0 ? op.value_head_dim : op.head_dim);
  return 2 * (op.pass == OpPass::forward ? head + value : 3 * head + 2 * value);
}

Bounds attention(const Op& op, const Device& device, const SmShare& share) {
  const GemmBehaviour& gemm = behaviour(device, Precision::bf16);
  const AttentionBehaviour& fused =
      op.pass == OpPass::forward ? device.attention_forward : device.attention_backward;
  const double peak = gemm.peak.count * (op.head_dim > widest_of_whole_tiles ? fused.wide : 1);
  const double flops = product_flops(op);
  const KeyTime key{.products = flops / (peak / real(device.multiprocessors) * fused.efficiency),
                    .scores = 1 / fused.score_rate,
                    .unhidden = fused.unhidden};
  const double rows = real(std::min(device.attention_tile_rows, op.sequence));
  const double per_key = rows * key.both();
  const AttentionTiles work = attention_tiles(op, device.attention_tile_rows);
  const double copies = real(op.batch) * real(op.heads);
  const double total = copies * (work.keys * per_key + work.tiles * to_seconds(fused.tile_overhead));
  if (copies * work.tiles <= 0) return {};
  const double longest = work.longest * per_key + to_seconds(fused.tile_overhead);
  // Tiles are handed out as multiprocessors fall free: that ends between total / left and one longest tile
  // later (Graham, SIAM J. Appl. Math. 1969); halfway is taken.
  const double left = real(share.multiprocessors);
  const double compute =
      copies * work.tiles <= left ? longest : std::max(longest, total / left + longest / 2);
  const double sustained = copies * work.keys * rows * flops / (peak * fused.sustained);
  return {std::max(compute * share.interference / share.clock, sustained),
          traffic(device, op) * share.traffic, launches(op, device) + to_seconds(fused.kernel_overhead), 0};
}

/// Rate of atomic additions: 98 and 128 billion a second, index_add_ of 8,192 x 4,096 and 24,640 x 5,120
/// elements in bf16 on an H200 (PyTorch 2.11); with the sums set to zero and the rows scaled before.
Bounds added_atomically(const Op& op, const Device& device, const SmShare& share) {
  constexpr double additions_per_second = 115e9;
  return {real(op.m) * real(op.n) / additions_per_second,
          traffic(device, op) * share.interference * share.traffic, 3 * launches(op, device), 1};
}

bool multiplies(const Op& op) { return op.kind == OpKind::gemm || op.kind == OpKind::grouped_gemm; }

/// What a kernel counts at its own pace: the multiplications of a product, elements of others.
double counted(const Op& op) { return multiplies(op) ? op.flops.count / 2 : real(op.m) * real(op.n); }

/// Device::cycle 0 is not known: bytes alone count.
Bounds by_access(const Op& op, const Device& device, const SmShare& share) {
  if (op.bytes.count <= 0) return {};
  const Access& access = op.access;
  const double rate = access.per_cycle * real(share.multiprocessors) * share.clock / to_seconds(device.cycle);
  const bool counts = access.per_cycle > 0 && device.cycle.count > 0;
  const double kernels = real(std::max<std::int64_t>(1, op.kernels));
  return {counts ? counted(op) / rate : 0,
          share.interference * share.traffic * real(op.bytes.count) /
              (device.memory_bandwidth.count * access.share),
          launches(op, device) + kernels * to_seconds(access.start), 0};
}

Bounds streaming(const Op& op, const Device& device, const SmShare& share) {
  if (op.bytes.count <= 0) return {};
  if (op.adds_atomically) return added_atomically(op, device, share);
  return {0, traffic(device, op) * op.passes * share.interference * share.traffic, launches(op, device), 0};
}

class Roofline final : public Cost {
 public:
  OpTime time(const Op& op, const Device& device, const DeviceState& state) const override {
    const SmShare share = share_of(op, device, state);
    // What a product multiplies at its own pace needs a clock; on a device without one it goes as any.
    if (op.access.share > 0 && (device.cycle.count > 0 || !multiplies(op)))
      return under(by_access(op, device, share));
    switch (op.kind) {
      case OpKind::gemm:
      case OpKind::grouped_gemm:
        return under(product(op, device, share));
      case OpKind::attention:
        return under(attention(op, device, share));
      default:
        return under(streaming(op, device, share));
    }
  }
};

std::unique_ptr<const Cost> make(Reader&) { return make_roofline(); }

}  // namespace

std::unique_ptr<const Cost> make_roofline() { return std::make_unique<Roofline>(); }

extern constexpr Entry<Cost> roofline_cost{
    "roofline",
    "tiles in waves over the multiprocessors, or bytes over the memory's bandwidth, whichever is longer",
    make};

}  // namespace moesim
