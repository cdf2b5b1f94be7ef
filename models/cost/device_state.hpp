// How a device is while an op runs on it.
#pragma once

#include <cstdint>

#include "models/cluster/contention.hpp"

namespace moesim {

/// Multiprocessors of a device that communication holds, and its clock.
struct DeviceState {
  // NOLINTNEXTLINE(google-explicit-constructor): beside a number of multiprocessors the clock is the full one
  constexpr DeviceState(std::int64_t count = 0, double of_full = 1) : held(count), clock(of_full) {}
  // NOLINTNEXTLINE(google-explicit-constructor): as above
  constexpr DeviceState(Held by, double of_full = 1) : held(by), clock(of_full) {}
  Held held;
  double clock;  ///< of the multiprocessors, over the full one: (0, 1]
};

}  // namespace moesim
