// Strong units. Inside moesim a bare double is a ratio; everything with a dimension has one of these types.
#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <type_traits>

namespace moesim {

/// A number with a dimension. `count` is in the base unit that the alias below names.
template <class Unit, class Number>
struct Quantity {
  Number count{};

  friend constexpr auto operator<=>(Quantity, Quantity) = default;
  friend constexpr Quantity operator+(Quantity a, Quantity b) { return {a.count + b.count}; }
  friend constexpr Quantity operator-(Quantity a, Quantity b) { return {a.count - b.count}; }
  friend constexpr Quantity operator*(Quantity a, Number factor) { return {a.count * factor}; }
  friend constexpr Quantity operator*(Number factor, Quantity a) { return {a.count * factor}; }
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
/// Sizes in whole bytes.
using Bytes = Quantity<struct Byte, std::int64_t>;
/// Floating-point operations; a multiply-add counts two.
using Flops = Quantity<struct Flop, double>;
/// Bytes per second.
using Rate = Quantity<struct BytePerSecond, double>;
/// Floating-point operations per second.
using FlopRate = Quantity<struct FlopPerSecond, double>;

/// Seconds to the nearest picosecond. Throws RunError beyond 100 days or for what is not a number.
Time from_seconds(double seconds);
/// Picoseconds as seconds, for arithmetic with ratios and for printing.
constexpr double to_seconds(Time time) { return static_cast<double>(time.count) * 1e-12; }
/// The time scaled by a ratio, to the nearest picosecond.
Time scaled(Time time, double ratio);
/// The size scaled by a ratio, to the nearest byte.
Bytes scaled(Bytes bytes, double ratio);
/// How long `bytes` take at `rate`; a rate of zero is an error, never an infinite time.
Time operator/(Bytes bytes, Rate rate);
/// How long `flops` take at `rate`; a rate of zero is an error, never an infinite time.
Time operator/(Flops flops, FlopRate rate);

/// For people: four significant digits with a fitting unit, as "19.87 s", "3.2 GB", "46 GB/s", "989 TFLOPS".
std::string print(Time time);
std::string print(Bytes bytes);
std::string print(Rate rate);
std::string print(Flops flops);
std::string print(FlopRate rate);

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
