// How a device is while an op runs on it.
#pragma once

#include <cstdint>

namespace moesim {

/// Multiprocessors of a device that communication holds, and its clock.
struct DeviceState {
  // NOLINTNEXTLINE(google-explicit-constructor): beside a number of multiprocessors the clock is the full one
  constexpr DeviceState(std::int64_t held = 0, double of_full = 1)
      : communication_sms(held), clock(of_full) {}
  std::int64_t communication_sms;
  double clock;  ///< of the multiprocessors, over the full one: (0, 1]
};

}  // namespace moesim
