// How a run of kernels moves two clocks: that of the device, and that of the host which issues it kernels one
// after the other. Each clock is afterwards the later of two: the device before plus a time, the host before
// plus a time. Such pairs compose (max-plus matrices: Baccelli, Cohen, Olsder, Quadrat, "Synchronization and
// Linearity", 1992).
#pragma once

#include <algorithm>
#include <cstdint>

#include "models/base/units.hpp"

namespace moesim {

/// The times to add; nothing has been issued by default. `never` is below every sum.
struct HostPath {
  static constexpr Time never{-1};
  Time device{};       ///< device to device: kernels one after the other
  Time lag = never;    ///< host to device: the end of what the host held up most
  Time drain = never;  ///< device to host: where the host waits for the device
  Time issue{};        ///< host to host

  /// Whether the host has no part in it.
  bool is_nothing() const { return issue.count == 0 && lag < Time{} && !drains(); }
  bool drains() const { return drain >= Time{}; }
  /// So many launches alike, each issued in `host`; together they run for `kernels`.
  static HostPath of_launches(std::int64_t count, Time host, Time kernels) {
    const Time one = kernels / std::max<std::int64_t>(1, count);
    const Time late = one < host ? host * count + one : host + kernels;
    return {.device = kernels, .lag = late, .issue = host * count};
  }
  /// The host waits until the device has ended all so far, and goes on so much later.
  static HostPath of_wait(Time after) { return {.drain = after, .issue = after}; }
  /// Both, one behind the other.
  HostPath& operator+=(const HostPath& next) {
    const HostPath before = *this;
    device = std::max(before.device + next.device, plus(before.drain, next.lag));
    lag = std::max(plus(before.lag, next.device), plus(before.issue, next.lag));
    drain = std::max(plus(before.device, next.drain), plus(before.drain, next.issue));
    issue = std::max(plus(before.lag, next.drain), before.issue + next.issue);
    return *this;
  }
  /// One of so many parts of it, which are issued apart.
  HostPath part_of(std::int64_t count) const {
    const auto part = [&](Time time) { return time < Time{} ? never : time / count; };
    return {part(device), part(lag), part(drain), part(issue)};
  }
  /// What each of many such runs in a row takes: the mean of the longest cycle.
  Time cycle() const {
    const Time both = drains() && lag >= Time{} ? (drain + lag) / 2 : Time{};
    return std::max({device, issue, both});
  }
  friend bool operator==(const HostPath&, const HostPath&) = default;

 private:
  static Time plus(Time a, Time b) { return a < Time{} || b < Time{} ? never : a + b; }
};

}  // namespace moesim
