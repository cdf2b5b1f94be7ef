// Whole numbers as bytes, and bytes as text: what a page draws is many small numbers.
#pragma once

#include <cstdint>
#include <string>

namespace moesim {

/// Numbers one after the other, seven bits a byte, the lowest first; the highest bit says that more follow
/// (LEB128, DWARF 5, section 7.6).
class Packed {
 public:
  void add(std::uint64_t number);
  /// Zigzag: 0, -1, 1, -2, ... are 0, 1, 2, 3, ...
  void add_signed(std::int64_t number);
  /// Base64 (RFC 4648, section 4), padded.
  std::string text() const;

 private:
  std::string bytes_;
};

}  // namespace moesim
