// Reads what a page's numbers are packed into, byte by byte, as the page's own script does.
#pragma once

#include <catch2/catch.hpp>
#include <cstdint>
#include <string>
#include <string_view>

namespace moesim::testing {

class Unpacked {
 public:
  explicit Unpacked(std::string_view base64) {
    constexpr std::string_view digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    std::uint32_t bits = 0;
    int count = 0;
    for (const char letter : base64) {
      if (letter == '=') break;
      bits = bits << 6 | static_cast<std::uint32_t>(digits.find(letter));
      count += 6;
      if (count < 8) continue;
      count -= 8;
      bytes_ += static_cast<char>(bits >> count & 0xff);
    }
  }

  bool is_at_end() const { return at_ == bytes_.size(); }

  std::uint64_t next() {
    std::uint64_t number = 0;
    for (int shift = 0;; shift += 7) {
      REQUIRE(at_ < bytes_.size());
      const auto byte = static_cast<unsigned char>(bytes_[at_++]);
      number |= static_cast<std::uint64_t>(byte & 0x7f) << shift;
      if (byte < 0x80) return number;
    }
  }

  std::int64_t next_signed() { return unfolded(next()); }

  static std::int64_t unfolded(std::uint64_t number) {
    return static_cast<std::int64_t>(number >> 1) ^ -static_cast<std::int64_t>(number & 1);
  }

 private:
  std::string bytes_;
  std::size_t at_ = 0;
};

}  // namespace moesim::testing
