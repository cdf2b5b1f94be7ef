// Number formats, by size.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <stdexcept>
#include <string_view>

#include "models/base/units.hpp"

namespace moesim {

/// Number formats of weights, activations and messages.
enum class Precision : std::uint8_t { fp32, bf16, fp8, fp4 };
inline constexpr std::size_t precision_count = 4;
inline constexpr std::array<std::string_view, precision_count> precision_names{"fp32", "bf16", "fp8", "fp4"};
/// Of these, those of which an element is whole bytes: what is sent, summed and held from step to step.
inline constexpr std::span<const std::string_view> whole_byte_names{precision_names.data(), 3};

/// Bytes of one element; scaling factors of block formats come on top where they are counted.
constexpr double bytes_each(Precision precision) {
  constexpr std::array<double, precision_count> bytes{4, 2, 1, 0.5};
  return bytes[static_cast<std::size_t>(precision)];
}
/// The same of formats of whole bytes. Throws std::logic_error for fp4.
constexpr Bytes size_of(Precision precision) {
  if (precision == Precision::fp4) throw std::logic_error("an element of fp4 is half a byte");
  return precision == Precision::fp32 ? Bytes{4} : precision == Precision::bf16 ? Bytes{2} : Bytes{1};
}

}  // namespace moesim
