// A hash of words, for tables that nothing iterates over.
#pragma once

#include <cstdint>

namespace moesim {

inline constexpr std::uint64_t hash_of_nothing = 0xcbf29ce484222325;

/// One step: xor, multiply by the prime of FNV-1a (Fowler, Noll, Vo), fold the high half back.
constexpr std::uint64_t hash_with(std::uint64_t hash, std::uint64_t word) {
  hash = (hash ^ word) * 0x00000100000001b3;
  return hash ^ (hash >> 32);
}

}  // namespace moesim
