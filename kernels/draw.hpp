// Numbers drawn for shapes; the same seed gives the same shapes everywhere.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <random>

#include "shape.hpp"

namespace measure {

class Draw {
 public:
  explicit Draw(std::uint32_t seed) : random_(seed) {}
  double unit() { return static_cast<double>(random_()) / 4294967296.0; }
  Int below(Int count) { return static_cast<Int>(unit() * static_cast<double>(count)); }
  /// Evenly spread logarithms, rounded to multiples of `step`.
  Int spread(Int low, Int high, Int step = 1) {
    const double value =
        static_cast<double>(low) * std::pow(static_cast<double>(high) / static_cast<double>(low), unit());
    return std::max<Int>(step, std::llround(value / static_cast<double>(step)) * step);
  }
  template <class T, std::size_t N>
  T one_of(const T (&items)[N]) {
    return items[static_cast<std::size_t>(below(N))];
  }

 private:
  std::mt19937 random_;
};

}  // namespace measure
