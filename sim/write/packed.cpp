#include "sim/write/packed.hpp"

#include <string_view>

namespace moesim {

void Packed::add(std::uint64_t number) {
  for (; number >= 0x80; number >>= 7) bytes_ += static_cast<char>((number & 0x7f) | 0x80);
  bytes_ += static_cast<char>(number);
}

void Packed::add_signed(std::int64_t number) {
  const auto sign = static_cast<std::uint64_t>(number < 0 ? -1 : 0);
  add((static_cast<std::uint64_t>(number) << 1) ^ sign);
}

std::string Packed::text() const {
  constexpr std::string_view digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  text.reserve((bytes_.size() + 2) / 3 * 4);
  for (std::size_t i = 0; i < bytes_.size(); i += 3) {
    std::uint32_t three = 0;
    for (std::size_t k = 0; k < 3; ++k) {
      const bool is_there = i + k < bytes_.size();
      three = three << 8 | (is_there ? static_cast<unsigned char>(bytes_[i + k]) : 0U);
    }
    for (std::size_t k = 0; k < 4; ++k) {
      const bool is_there = i + k <= bytes_.size();  // k digits hold the bits of k - 1 bytes, and more
      text += is_there ? digits[three >> (18 - 6 * k) & 0x3f] : '=';
    }
  }
  return text;
}

}  // namespace moesim
