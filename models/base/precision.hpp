// Number formats, by size.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "models/base/units.hpp"

namespace moesim {

/// Number formats of weights, activations and messages.
enum class Precision : std::uint8_t { fp32, bf16, fp8 };
inline constexpr std::size_t precision_count = 3;
inline constexpr std::array<std::string_view, precision_count> precision_names{"fp32", "bf16", "fp8"};

/// Bytes of one element; scaling factors of block formats come on top where they are counted.
constexpr Bytes size_of(Precision precision) {
  return precision == Precision::fp32 ? Bytes{4} : precision == Precision::bf16 ? Bytes{2} : Bytes{1};
}

}  // namespace moesim
