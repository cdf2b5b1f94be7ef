// What ops draw, and the clock at which a device holds its mean power.
#pragma once

#include <functional>

#include "models/cluster/device.hpp"
#include "models/transformer/op.hpp"

namespace moesim {

/// What a device draws beyond idle for an op that takes `time` on it at `clock` (DeviceState). Nothing where
/// its power is not known.
Energy drawn(const Op& op, Time time, const Device& device, double clock);

/// The clock, over the full one, at which a device's mean power is what it holds, or 1 where it is less: the
/// higher the clock, the higher the power that `mean_at` tells. The clock that is returned is the last one
/// that `mean_at` was asked for. Of a device whose power is known.
double settled_clock(const Device& device, const std::function<Power(double clock)>& mean_at);

}  // namespace moesim
