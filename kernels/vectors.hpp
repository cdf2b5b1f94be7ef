// Eight bf16 numbers at a time, and sums over threads. For .cu files alone.
#pragma once

#include <cuda_bf16.h>

#include <algorithm>

#include "check.hpp"
#include "shape.hpp"

namespace measure {

using Half = __nv_bfloat16;

constexpr int lanes = 32;
constexpr int vector = 8;  // elements of 16 bytes

struct alignas(16) Eight {
  Half value[vector];
};

__device__ inline Eight load(const Half* from) { return *reinterpret_cast<const Eight*>(from); }
__device__ inline void store(Half* to, const Eight& eight) { *reinterpret_cast<Eight*>(to) = eight; }

/// Loads without keeping the line: it is read once.
__device__ inline Eight load_once(const Half* from) {
  const uint4 raw = __ldcs(reinterpret_cast<const uint4*>(from));
  Eight eight;
  *reinterpret_cast<uint4*>(&eight) = raw;
  return eight;
}
__device__ inline void store_once(Half* to, const Eight& eight) {
  __stcs(reinterpret_cast<uint4*>(to), *reinterpret_cast<const uint4*>(&eight));
}

__device__ inline float real(Half value) { return __bfloat162float(value); }

/// Two elements in one word, as they lie in memory.
__device__ inline float lower(unsigned two) { return __uint_as_float(two << 16); }
__device__ inline float upper(unsigned two) { return __uint_as_float(two & 0xffff0000u); }
__device__ inline unsigned packed(float low, float high) {
  const __nv_bfloat162 two = __floats2bfloat162_rn(low, high);
  return *reinterpret_cast<const unsigned*>(&two);
}

/// Eight elements as four words.
struct alignas(16) Words {
  unsigned two[vector / 2];
};
__device__ inline Words load_words(const Half* from) { return *reinterpret_cast<const Words*>(from); }
__device__ inline Words load_words_once(const Half* from) {
  const uint4 raw = __ldcs(reinterpret_cast<const uint4*>(from));
  return *reinterpret_cast<const Words*>(&raw);
}
__device__ inline void store_once(Half* to, const Words& words) {
  __stcs(reinterpret_cast<uint4*>(to), *reinterpret_cast<const uint4*>(&words));
}
/// From here on the compiler knows nothing of the words: what it made of them before is not kept in
/// registers but made again.
__device__ inline void forget(Words& words) {
  asm volatile("" : "+r"(words.two[0]), "+r"(words.two[1]), "+r"(words.two[2]), "+r"(words.two[3]));
}

/// The sum over `Threads` neighbouring lanes.
template <int Threads>
__device__ inline float sum_over_lanes(float value) {
#pragma unroll
  for (int distance = Threads / 2; distance > 0; distance /= 2)
    value += __shfl_xor_sync(~0u, value, distance);
  return value;
}

/// Blocks of `each` that hold `count`.
inline unsigned blocks(Int count, Int each) { return static_cast<unsigned>((count + each - 1) / each); }

constexpr int per_thread = 2;  // vectors in flight

/// A grid over rows and parts of rows; each thread has `in_flight` vectors.
struct Parts {
  Parts(Int rows, Int width, Int in_flight = per_thread)
      : block(static_cast<unsigned>(
            std::clamp<Int>((width / vector / in_flight + lanes - 1) / lanes * lanes, lanes, 256))),
        grid(static_cast<unsigned>(rows), blocks(width / vector, static_cast<Int>(block) * in_flight)) {}
  unsigned block;
  dim3 grid;
};

}  // namespace measure
