// What goes wrong in a step, and over many: slow devices, links with less than their rate or none, tasks
// whose times vary, devices that fail.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "models/base/units.hpp"
#include "models/cluster/fabric.hpp"

namespace moesim {

/// A device whose compute takes `slowdown` times as long if it starts at `from` or later; what runs then ends
/// as it would have.
struct Straggler {
  DeviceId device = 0;  ///< in a pipeline without a model the pipeline rank
  double slowdown = 1;  ///< above 1
  Time from{};
};

/// All links between two vertices, both ways, with part of their rate; 0 takes them out.
struct LinkFault {
  std::uint32_t ends[2] = {0, 0};  ///< vertices
  double rate_left = 1;            ///< below 1
};

/// How the factors that compute tasks take longer are spread; their mean is 1 for `lognormal` and 1 +
/// deviation for `exponential`, which only delays.
enum class JitterKind : std::uint8_t { lognormal, exponential };
inline constexpr std::string_view jitter_names[] = {"lognormal", "exponential"};
struct Jitter {
  JitterKind kind = JitterKind::lognormal;
  double deviation = 0;  ///< standard deviation of the factor
};

/// How fast the devices of one kind are (Device::spread).
enum class DevicePaces : std::uint8_t {
  slowest,  ///< those of a pipeline rank as its slowest is expected to be
  each,     ///< each as it is drawn
};
inline constexpr std::string_view device_paces_names[] = {"slowest", "each"};

/// Devices that fail, checkpoints against it and restarts after it.
struct Failures {
  double per_device_year = 0;  ///< at random, each device by itself; 0: at the given times only
  std::vector<WallClock> at;   ///< rising
  Time checkpoint_interval{};  ///< of work between the beginnings of two checkpoints
  Time checkpoint_cost{};      ///< that nothing else is done in
  Time restart_cost{};         ///< from a failure until work goes on at the last checkpoint
  WallClock run{};             ///< the whole run
};

/// All of it. Entries that change nothing (slowdown 1, rate_left 1) are left out.
struct Faults {
  std::uint64_t seed = 1;  ///< of jitter, paces and failures
  std::uint64_t step = 0;  ///< of a run of several: jitter is drawn anew in each
  std::vector<Straggler> stragglers;
  std::vector<LinkFault> links;
  Jitter jitter;
  DevicePaces paces = DevicePaces::slowest;
  std::optional<Failures> failures;

  bool change_steps() const {
    return !stragglers.empty() || !links.empty() || jitter.deviation > 0 || paces == DevicePaces::each;
  }
};

}  // namespace moesim
