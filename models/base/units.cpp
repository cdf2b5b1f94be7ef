#include "models/base/units.hpp"

#include <fmt/format.h>

#include <array>
#include <cmath>
#include <limits>
#include <string_view>

#include "models/base/error.hpp"

namespace moesim {
namespace {

constexpr double picoseconds_per_second = 1e12;
constexpr double most_bytes = 9.2e18;  // 2^63 is 9.22e18

struct Scale {
  double factor;
  std::string_view unit;
};

template <std::size_t N>
std::string with_unit(double value, const std::array<Scale, N>& scales) {
  const double size = std::abs(value);
  // Beyond the largest unit four digits would turn into powers of ten.
  if (size >= scales.front().factor * 9999.5) {
    return fmt::format("{:.0f} {}", value / scales.front().factor, scales.front().unit);
  }
  for (const Scale& scale : scales) {
    if (size >= scale.factor * 0.99995) return fmt::format("{:.4g} {}", value / scale.factor, scale.unit);
  }
  const Scale& last = scales.back();
  return fmt::format("{:.4g} {}", value / last.factor, last.unit);
}

}  // namespace

template <>
void fail_beyond_range<Picosecond>() {
  throw RunError(fmt::format("times add up to more than can be simulated ({} days)", longest_days));
}

template <>
void fail_beyond_range<Byte>() {
  throw RunError("sizes add up to more than can be simulated (9.2 EB)");
}

void fail_too_long(double seconds) {
  throw RunError(
      fmt::format("a time of {} s is beyond what can be simulated ({} days)", seconds, longest_days));
}

Time from_seconds(double seconds) {
  if (!(std::abs(seconds) <= to_seconds(longest_time))) fail_too_long(seconds);
  return {std::llround(seconds * picoseconds_per_second)};
}

Time scaled(Time time, double ratio) {
  const double picoseconds =
      static_cast<double>(time.count) * ratio;  // not by way of seconds: a ratio of 1 is exact
  if (!(std::abs(picoseconds) <= static_cast<double>(longest_time.count)))
    fail_too_long(to_seconds(time) * ratio);
  return {std::llround(picoseconds)};
}

Bytes from_bytes(double bytes) {
  if (!(std::abs(bytes) <= most_bytes))
    throw RunError(fmt::format("a size of {:.4g} bytes is beyond what can be simulated (9.2 EB)", bytes));
  return {std::llround(bytes)};
}

Bytes scaled(Bytes bytes, double ratio) { return from_bytes(static_cast<double>(bytes.count) * ratio); }

Time operator/(Bytes bytes, Rate rate) {
  ensure(rate.count > 0, "a bandwidth is above zero");
  return from_seconds(static_cast<double>(bytes.count) / rate.count);
}

Time operator/(Flops flops, FlopRate rate) {
  ensure(rate.count > 0, "a compute rate is above zero");
  return from_seconds(flops.count / rate.count);
}

std::string print(Time time) { return print(to_wall_clock(time)); }

std::string print(WallClock time) {
  static constexpr std::array<Scale, 5> scales{
      {{1.0, "s"}, {1e-3, "ms"}, {1e-6, "us"}, {1e-9, "ns"}, {1e-12, "ps"}}};
  if (time.count == 0) return "0 s";
  const double size = std::abs(time.count);
  if (size < 300) return with_unit(time.count, scales);
  if (size < 2 * 3600) return fmt::format("{:.4g} min", time.count / 60);
  if (size < 2 * 86400) return fmt::format("{:.4g} h", time.count / 3600);
  return with_unit(time.count, std::array<Scale, 1>{{{86400, "d"}}});
}

std::string print(Bytes bytes) {
  static constexpr std::array<Scale, 6> scales{
      {{1e15, "PB"}, {1e12, "TB"}, {1e9, "GB"}, {1e6, "MB"}, {1e3, "kB"}, {1.0, "B"}}};
  return with_unit(static_cast<double>(bytes.count), scales);
}

std::string print(Rate rate) {
  static constexpr std::array<Scale, 5> scales{
      {{1e12, "TB/s"}, {1e9, "GB/s"}, {1e6, "MB/s"}, {1e3, "kB/s"}, {1.0, "B/s"}}};
  return with_unit(rate.count, scales);
}

std::string print(Flops flops) {
  static constexpr std::array<Scale, 6> scales{
      {{1e18, "EFLOP"}, {1e15, "PFLOP"}, {1e12, "TFLOP"}, {1e9, "GFLOP"}, {1e6, "MFLOP"}, {1.0, "FLOP"}}};
  return with_unit(flops.count, scales);
}

std::string print(FlopRate rate) {
  static constexpr std::array<Scale, 5> scales{
      {{1e18, "EFLOPS"}, {1e15, "PFLOPS"}, {1e12, "TFLOPS"}, {1e9, "GFLOPS"}, {1.0, "FLOPS"}}};
  return with_unit(rate.count, scales);
}

std::string print(Power power) {
  static constexpr std::array<Scale, 3> scales{{{1e6, "MW"}, {1e3, "kW"}, {1.0, "W"}}};
  return with_unit(power.count, scales);
}

std::string print(Energy energy) {
  static constexpr std::array<Scale, 8> scales{{{1e12, "TJ"},
                                                {1e9, "GJ"},
                                                {1e6, "MJ"},
                                                {1e3, "kJ"},
                                                {1.0, "J"},
                                                {1e-3, "mJ"},
                                                {1e-6, "uJ"},
                                                {1e-12, "pJ"}}};
  return with_unit(energy.count, scales);
}

}  // namespace moesim
