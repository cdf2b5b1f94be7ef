// What ops draw, and the clock at which a device holds its mean power.
#pragma once

#include <cstdint>
#include <functional>

#include "models/cluster/device.hpp"
#include "models/transformer/op.hpp"

namespace moesim {

/// Over the full one: an H200's lowest is 345 of 1,980 MHz (nvidia-smi).
inline constexpr double lowest_clock = 0.17;

/// What a device draws beyond idle for an op that takes `time` on it at `clock` (DeviceState). Nothing where
/// its power is not known.
Energy drawn(const Op& op, Time time, const Device& device, double clock);

/// The clock, over the full one, at which a device's mean power is what it holds, or 1 where it is less: the
/// higher the clock, the higher the power that `mean_at` tells. The clock that is returned is the last one
/// that `mean_at` was asked for. Of a device whose power is known.
double settled_clock(const Device& device, const std::function<Power(double clock)>& mean_at);

/// The clock of the n-th step since the device last rested, of which a step in a row of very many, n = 0, has
/// `settled`: the full clock while the window of its mean power has not passed, `settled` from then on, and
/// of a step in which it passes the one clock at which its work takes as long.
double clock_after_rest(const Device& device, double settled, Time step_at_full_clock, std::int64_t step);

}  // namespace moesim
