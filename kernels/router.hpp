// What the router's two passes share: how experts and choices of a token lie on lanes. For .cu files alone.
#pragma once

#include <stdexcept>

#include "pieces.hpp"
#include "vectors.hpp"

namespace measure {

constexpr int chunk = 4;  // neighbouring experts of a lane: 8 bytes of logits, 16 of probabilities
constexpr Int most_experts = 512;
constexpr int most_choices = 16;

/// What both passes serve. Throws std::logic_error for more, or for experts that are not whole chunks.
inline void check_routing(Int tokens, Int experts, Int top_k) {
  if (experts % chunk != 0) throw std::logic_error("experts in fours");
  if (experts > most_experts) throw std::logic_error("at most 512 experts");
  if (top_k > most_choices) throw std::logic_error("at most 16 choices");
  if (tokens > (Int{1} << 31) / (2 * most_experts)) throw std::logic_error("at most 2097152 tokens");
}

/// How far a chunk of a lane is from its first one: so many experts.
template <class S>
__device__ constexpr int chunk_step(int chunk_of_lane) {
  return chunk_of_lane * S::lanes_of_token * chunk;
}

/// Where a thread is. Elements are counted in 32 bits: addresses are on the way to every load and store.
template <class S>
struct Place {
  __device__ Place(int tokens, int experts)
      : token(static_cast<int>((blockIdx.x * blockDim.x + threadIdx.x) / S::lanes_of_token)),
        lane(static_cast<int>(threadIdx.x % S::lanes_of_token)),
        first(token * experts + lane * chunk),
        experts_left(token < tokens ? experts - lane * chunk : 0) {}
  /// Whether there are experts for this chunk of the lane, and a token.
  __device__ bool has(int chunk_of_lane) const { return chunk_step<S>(chunk_of_lane) < experts_left; }
  int token, lane;
  int first;         ///< element of the lane's first chunk, in a matrix of tokens and experts
  int experts_left;  ///< from there on; 0 beyond the last token
};

/// What a lane has of its choices: one access to memory where a token has as many as its lanes have room for.
template <class T, int Kept>
struct alignas(4 * (Kept < 4 ? Kept : 4)) OfChoices {
  T of[Kept];
};
/// How many of the choices are a lane's.
template <class S>
__device__ int choices_of(int lane, int top_k) {
  return max(0, min(S::kept, top_k - lane * S::kept));
}
template <class T, int Kept>
__device__ OfChoices<T, Kept> read_choices(const T* from, int count, int top_k) {
  OfChoices<T, Kept> result = {};
  if (top_k % Kept == 0) {
    if (count > 0) result = *reinterpret_cast<const OfChoices<T, Kept>*>(from);
    return result;
  }
#pragma unroll
  for (int i = 0; i < Kept; ++i)
    if (i < count) result.of[i] = from[i];
  return result;
}
template <class T, int Kept>
__device__ void write_choices(T* to, const OfChoices<T, Kept>& values, int count, int top_k) {
  if (top_k % Kept == 0) {
    if (count > 0) *reinterpret_cast<OfChoices<T, Kept>*>(to) = values;
    return;
  }
#pragma unroll
  for (int i = 0; i < Kept; ++i)
    if (i < count) to[i] = values.of[i];
}

}  // namespace measure
