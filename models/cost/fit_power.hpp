// What a device draws, by measured mixes of ops.
#pragma once

#include <vector>

#include "models/cluster/device.hpp"
#include "models/config/reader.hpp"
#include "models/cost/calibration.hpp"

namespace moesim {

/// So many calls of an op in a row.
struct MixPart {
  Measured measured;         ///< in the mix
  double alone_seconds = 0;  ///< of a call on a device that has rested, at full clock
  std::int64_t calls = 1;
};

/// Parts in turn, over and over, and a pause after each round.
struct MeasuredMix {
  std::vector<MixPart> parts;
  double pause_seconds = 0;
  Power power;  ///< that the device drew, in the mean
};

/// Everything that was measured of a device's power.
struct MeasuredPower {
  Power limit, idle;
  Time response;  ///< from idle until a large product is slower than it began
  std::vector<MeasuredMix> mixes;
};
MeasuredPower read_measured_power(Reader reader);

/// Sets the power of a device whose file gives one: limit, idle power and window as measured; the rest so
/// that times and powers of the mixes are met, each at the clock at which `cost` and the power together
/// settle.
void fit_power(const Cost& cost, Device& device, const MeasuredPower& measured);

PowerErrors power_errors(const Cost& cost, const Device& device, const MeasuredPower& measured);

}  // namespace moesim
