// One accelerator: what its data sheet says, and how much of that real kernels reach.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "models/base/precision.hpp"
#include "models/base/units.hpp"
#include "models/config/reader.hpp"

namespace moesim {

/// An output tile that a matrix kernel may choose, rows by columns.
struct Tile {
  std::int64_t rows = 128;
  std::int64_t columns = 128;
};

/// How matrix kernels of one precision behave on the device.
struct GemmBehaviour {
  FlopRate peak;                  ///< dense, all multiprocessors, data sheet
  double efficiency = 1;          ///< share of `peak` that the main loop of a full wave sustains
  Time tile_overhead;             ///< per wave of tiles: pipeline fill, epilogue, scheduling
  std::vector<Tile> tiles;        ///< the kernel takes the one that finishes first
};

/// A point of the contention curve: with this many multiprocessors held by communication, compute takes
/// `slowdown` times as long.
struct ContentionPoint {
  std::int64_t communication_sms = 0;
  double slowdown = 1;
};

/// A device as its file gives it. Every number there has a source.
struct Device {
  std::string name;
  std::int64_t multiprocessors = 1;          ///< SMs of a GPU, cores of a TPU chip
  Bytes memory;                              ///< capacity of device memory
  Rate memory_bandwidth;                     ///< data sheet
  double memory_efficiency = 1;              ///< share of it that streaming kernels reach
  Bytes cache;                               ///< last-level cache
  Time launch_overhead;                      ///< gap between two kernels of one stream, launches queued ahead
  Time kernel_floor;                         ///< shortest run of any kernel, launch excluded
  std::array<GemmBehaviour, precision_count> gemm;
  double attention_forward_efficiency = 1;   ///< share of the bf16 peak, causal FLOPs counted
  double attention_backward_efficiency = 1;
  std::vector<ContentionPoint> contention;   ///< rising in communication_sms; linear between points
};

/// Reads a device file.
Device read_device(Reader& reader);

/// How much longer compute takes while communication holds `communication_sms` multiprocessors: at least 1. Linear
/// between the points of the curve; without a curve the share of multiprocessors that is left.
double contention(const Device& device, std::int64_t communication_sms);

}  // namespace moesim
