// Products and sums of sizes that 64 bits may not hold.
#pragma once

#include <cstdint>
#include <initializer_list>

#include "models/base/error.hpp"

namespace moesim {

[[noreturn]] inline void fail_too_large() {
  throw RunError("sizes come to more than 64 bits hold, which is beyond what can be simulated");
}

/// The product of sizes. Throws RunError where 64 bits do not hold it.
constexpr std::int64_t product_of(std::initializer_list<std::int64_t> sizes) {
  std::int64_t product = 1;
  for (const std::int64_t size : sizes) {
    if (__builtin_mul_overflow(product, size, &product)) fail_too_large();
  }
  return product;
}

/// The sum of sizes. Throws RunError where 64 bits do not hold it.
constexpr std::int64_t sum_of(std::int64_t a, std::int64_t b) {
  std::int64_t sum = 0;
  if (__builtin_add_overflow(a, b, &sum)) fail_too_large();
  return sum;
}

}  // namespace moesim
