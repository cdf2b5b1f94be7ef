// Strong units. Inside moesim a bare double is a ratio; everything with a dimension has one of these types.
#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <type_traits>

#include "models/base/error.hpp"

namespace moesim {

/// Throws RunError: a sum, a difference or a product is beyond what 64 bits hold.
template <class Unit>
[[noreturn]] void fail_beyond_range();

/// A number with a dimension. `count` is in the base unit that the alias below names. Sums, differences and
/// products of whole numbers are exact, or an error.
template <class Unit, class Number>
struct Quantity {
  Number count{};

  friend constexpr auto operator<=>(Quantity, Quantity) = default;
  friend constexpr Quantity operator+(Quantity a, Quantity b) {
    if constexpr (std::is_integral_v<Number>) {
      Number sum{};
      if (__builtin_add_overflow(a.count, b.count, &sum)) fail_beyond_range<Unit>();
      return {sum};
    } else {
      return {a.count + b.count};
    }
  }
  friend constexpr Quantity operator-(Quantity a, Quantity b) {
    if constexpr (std::is_integral_v<Number>) {
      Number difference{};
      if (__builtin_sub_overflow(a.count, b.count, &difference)) fail_beyond_range<Unit>();
      return {difference};
    } else {
      return {a.count - b.count};
    }
  }
  friend constexpr Quantity operator*(Quantity a, Number factor) {
    if constexpr (std::is_integral_v<Number>) {
      Number product{};
      if (__builtin_mul_overflow(a.count, factor, &product)) fail_beyond_range<Unit>();
      return {product};
    } else {
      return {a.count * factor};
    }
  }
  friend constexpr Quantity operator*(Number factor, Quantity a) { return a * factor; }
  friend constexpr Quantity operator/(Quantity a, Number divisor) { return {a.count / divisor}; }
  /// The ratio of two quantities of one dimension.
  friend constexpr double operator/(Quantity a, Quantity b) {
    return static_cast<double>(a.count) / static_cast<double>(b.count);
  }
  constexpr Quantity& operator+=(Quantity other) { return *this = *this + other; }
  constexpr Quantity& operator-=(Quantity other) { return *this = *this - other; }
};

/// Simulated time in whole picoseconds: sums are exact and order is total.
using Time = Quantity<struct Picosecond, std::int64_t>;
/// Wall clock of a long run in seconds: years, which a Time does not hold.
using WallClock = Quantity<struct Second, double>;
/// Sizes in whole bytes.
using Bytes = Quantity<struct Byte, std::int64_t>;
/// Floating-point operations; a multiply-add counts two.
using Flops = Quantity<struct Flop, double>;
/// Bytes per second.
using Rate = Quantity<struct BytePerSecond, double>;
/// Floating-point operations per second.
using FlopRate = Quantity<struct FlopPerSecond, double>;
/// Electric power in watts.
using Power = Quantity<struct Watt, double>;
/// Energy in joules.
using Energy = Quantity<struct Joule, double>;

template <>
[[noreturn]] void fail_beyond_range<Picosecond>();
template <>
[[noreturn]] void fail_beyond_range<Byte>();

/// The longest time that is simulated. 64 bits hold 106 days.
inline constexpr std::int64_t longest_days = 100;
inline constexpr Time longest_time{longest_days * 24 * 3600 * 1'000'000'000'000};
/// Throws RunError: a time of so many seconds is longer than that, or not a number.
[[noreturn]] void fail_too_long(double seconds);

/// Seconds to the nearest picosecond. Throws RunError beyond the longest time or for what is not a number.
Time from_seconds(double seconds);
/// Picoseconds as seconds, for arithmetic with ratios and for printing.
constexpr double to_seconds(Time time) { return static_cast<double>(time.count) * 1e-12; }
constexpr WallClock to_wall_clock(Time time) { return {to_seconds(time)}; }
/// Bytes to the nearest whole one. Throws RunError for what 64 bits do not hold or what is not a number.
Bytes from_bytes(double bytes);
/// The time scaled by a ratio, to the nearest picosecond.
Time scaled(Time time, double ratio);
/// The size scaled by a ratio, to the nearest byte. Throws RunError as from_bytes().
Bytes scaled(Bytes bytes, double ratio);
/// How long `bytes` take at `rate`; a rate of zero is an error, never an infinite time.
Time operator/(Bytes bytes, Rate rate);
/// How long `flops` take at `rate`; a rate of zero is an error, never an infinite time.
Time operator/(Flops flops, FlopRate rate);

/// What so much power comes to over a time.
constexpr Energy operator*(Power power, Time time) { return {power.count * to_seconds(time)}; }
/// The mean power over a time above zero.
constexpr Power operator/(Energy energy, Time time) { return {energy.count / to_seconds(time)}; }

/// The mean of times that together may be beyond what a Time holds.
class MeanTime {
 public:
  void add(Time time, std::int64_t times) {
    sum_ += static_cast<Wide>(time.count) * times;
    times_ += times;
  }
  /// Rounded down, so that means of parts never come to more than the mean of the whole. Of something.
  Time mean() const {
    ensure(times_ > 0, "a mean is of something");
    return {static_cast<std::int64_t>(sum_ / times_)};
  }

 private:
  __extension__ typedef __int128 Wide;  // NOLINT(modernize-use-using): an alias takes no __extension__
  Wide sum_ = 0;
  std::int64_t times_ = 0;
};

/// For people: four significant digits with a fitting unit, as "19.87 s", "3.2 d", "3.2 GB", "46 GB/s", "989
/// TFLOPS", "700 W", "1.2 MJ".
std::string print(Time time);
std::string print(WallClock time);
std::string print(Bytes bytes);
std::string print(Rate rate);
std::string print(Flops flops);
std::string print(FlopRate rate);
std::string print(Power power);
std::string print(Energy energy);

namespace literals {
constexpr Time operator""_ps(unsigned long long n) { return {static_cast<std::int64_t>(n)}; }
constexpr Time operator""_ns(unsigned long long n) { return {static_cast<std::int64_t>(n) * 1'000}; }
constexpr Time operator""_us(unsigned long long n) { return {static_cast<std::int64_t>(n) * 1'000'000}; }
constexpr Time operator""_ms(unsigned long long n) { return {static_cast<std::int64_t>(n) * 1'000'000'000}; }
constexpr Time operator""_s(unsigned long long n) {
  return {static_cast<std::int64_t>(n) * 1'000'000'000'000};
}
constexpr Bytes operator""_B(unsigned long long n) { return {static_cast<std::int64_t>(n)}; }
constexpr Rate operator""_GBps(unsigned long long n) { return {static_cast<double>(n) * 1e9}; }
constexpr FlopRate operator""_TFLOPS(unsigned long long n) { return {static_cast<double>(n) * 1e12}; }
}  // namespace literals

}  // namespace moesim
