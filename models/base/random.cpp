#include "models/base/random.hpp"

#include <cmath>
#include <numbers>

#include "models/base/error.hpp"

namespace moesim {
namespace {

constexpr std::uint64_t golden = 0x9e3779b97f4a7c15ULL;

constexpr std::uint64_t mix(std::uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
  return x ^ (x >> 31);
}

}  // namespace

std::uint64_t RandomStream::bits() { return mix(key_ + golden * ++counter_); }

double RandomStream::uniform() { return static_cast<double>(bits() >> 11) * 0x1.0p-53; }

std::uint64_t RandomStream::below(std::uint64_t bound) {
  ensure(bound > 0, "a random bound is at least 1");
  const std::uint64_t reject_under = (0 - bound) % bound;
  std::uint64_t drawn = bits();
  while (drawn < reject_under) drawn = bits();
  return drawn % bound;
}

double RandomStream::normal() {
  const double radius = std::sqrt(-2.0 * std::log(1.0 - uniform()));
  return radius * std::cos(2.0 * std::numbers::pi * uniform());
}

double RandomStream::gamma(double shape) {
  ensure(shape > 0, "a gamma shape is above zero");
  if (shape < 1) {
    // One draw after the other: compilers evaluate the factors of a product in orders of their own.
    const double larger = gamma(shape + 1);
    return larger * std::pow(1.0 - uniform(), 1.0 / shape);
  }
  const double d = shape - 1.0 / 3.0;
  const double c = 1.0 / std::sqrt(9.0 * d);
  while (true) {
    const double x = normal();
    const double v = std::pow(1.0 + c * x, 3);
    if (v > 0 && std::log(1.0 - uniform()) < 0.5 * x * x + d - d * v + d * std::log(v)) return d * v;
  }
}

RandomStream Random::stream(std::string_view purpose, std::uint64_t a, std::uint64_t b,
                            std::uint64_t c) const {
  // Mixed twice: once would make seed and first coordinate interchangeable where the purpose is empty.
  std::uint64_t key = mix(mix(seed_ + golden) + golden);
  for (const char letter : purpose) key = mix(key ^ static_cast<unsigned char>(letter)) + golden;
  for (const std::uint64_t coordinate : {a, b, c}) key = mix(key ^ mix(coordinate + golden)) + golden;
  return RandomStream(key);
}

}  // namespace moesim
