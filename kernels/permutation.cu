// Rows to the order of experts and back.
#include <algorithm>
#include <stdexcept>
#include <type_traits>

#include "pieces.hpp"
#include "vectors.hpp"

namespace measure {
namespace {

/// A block a token: its row is read once and written to all of its places.
template <int TopK>
__global__ void permute_kernel(const Half* __restrict__ x, const int* __restrict__ place,
                               Half* __restrict__ out, int width) {
  const Int token = blockIdx.x;
  for (int column = threadIdx.x * vector; column < width; column += blockDim.x * vector) {
    const Eight held = load_once(x + token * width + column);
#pragma unroll
    for (int j = 0; j < TopK; ++j)
      store_once(out + static_cast<Int>(place[token * TopK + j]) * width + column, held);
  }
}

template <int TopK>
__global__ void unpermute_kernel(const Half* __restrict__ x, const int* __restrict__ place,
                                 const float* __restrict__ weights, Half* __restrict__ out, int width) {
  const Int token = blockIdx.x;
  for (int column = threadIdx.x * vector; column < width; column += blockDim.x * vector) {
    Eight held[TopK];
#pragma unroll
    for (int j = 0; j < TopK; ++j)
      held[j] = load_once(x + static_cast<Int>(place[token * TopK + j]) * width + column);
    float sums[vector] = {};
#pragma unroll
    for (int j = 0; j < TopK; ++j) {
      const float weight = weights[token * TopK + j];
      for (int i = 0; i < vector; ++i) sums[i] += weight * real(held[j].value[i]);
    }
    Eight result;
    for (int i = 0; i < vector; ++i) result.value[i] = __float2bfloat16(sums[i]);
    store(out + token * width + column, result);
  }
}

/// Calls `run` with the number of a token's rows as a constant.
template <class Run>
void by_top_k(Int top_k, Run&& run) {
  switch (top_k) {
    case 1:
      return run(std::integral_constant<int, 1>{});
    case 2:
      return run(std::integral_constant<int, 2>{});
    case 4:
      return run(std::integral_constant<int, 4>{});
    case 6:
      return run(std::integral_constant<int, 6>{});
    case 8:
      return run(std::integral_constant<int, 8>{});
    default:
      throw std::logic_error("top_k of 1, 2, 4, 6 or 8");
  }
}

unsigned threads_of(Int width) {
  return static_cast<unsigned>(std::clamp<Int>((width / vector + lanes - 1) / lanes * lanes, lanes, 256));
}

}  // namespace

void permute(const Half* x, const int* place, Half* out, Int tokens, Int width, Int top_k,
             cudaStream_t stream) {
  by_top_k(top_k, [&](auto k) {
    permute_kernel<k><<<static_cast<unsigned>(tokens), threads_of(width), 0, stream>>>(
        x, place, out, static_cast<int>(width));
  });
  check_launch("permute");
}

void unpermute(const Half* x, const int* place, const float* weights, Half* out, Int tokens, Int width,
               Int top_k, cudaStream_t stream) {
  by_top_k(top_k, [&](auto k) {
    unpermute_kernel<k><<<static_cast<unsigned>(tokens), threads_of(width), 0, stream>>>(
        x, place, weights, out, static_cast<int>(width));
  });
  check_launch("unpermute");
}

}  // namespace measure
