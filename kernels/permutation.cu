// Rows to the order of experts and back.
#include <algorithm>
#include <stdexcept>
#include <type_traits>

#include "pieces.hpp"
#include "vectors.hpp"

namespace measure {
namespace {

constexpr int most_threads = 256;  // of a block

/// A block a token: its row is read once, whole, and written to its places one after the other. `Vectors` is
/// what a thread has of it.
template <int TopK, int Vectors>
__global__ void __launch_bounds__(most_threads)
    permute_kernel(const Half* __restrict__ x, const int* __restrict__ place, Half* __restrict__ out,
                   int width) {
  const Int token = blockIdx.x;
  const auto column = [](int v) {
    return (v * static_cast<int>(blockDim.x) + static_cast<int>(threadIdx.x)) * vector;
  };
  Words held[Vectors];
#pragma unroll
  for (int v = 0; v < Vectors; ++v)
    if (column(v) < width) held[v] = load_words_once(x + token * width + column(v));
#pragma unroll
  for (int j = 0; j < TopK; ++j) {
    Half* to = out + static_cast<Int>(place[token * TopK + j]) * width;
#pragma unroll
    for (int v = 0; v < Vectors; ++v)
      if (column(v) < width) store_once(to + column(v), held[v]);
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

unsigned threads_of(Int width, Int vectors = 1) {
  return static_cast<unsigned>(
      std::clamp<Int>(blocks(width, vectors * vector * lanes) * lanes, lanes, most_threads));
}

/// Calls `run` with the vectors of a row that a thread has, so that a block has some 128 threads.
template <class Run>
void by_width(Int width, Run&& run) {
  if (width <= 1024) return run(std::integral_constant<int, 1>{});
  if (width <= 2048) return run(std::integral_constant<int, 2>{});
  if (width <= 4096) return run(std::integral_constant<int, 4>{});
  if (width <= 16384) return run(std::integral_constant<int, 8>{});
  throw std::logic_error("rows of at most 16384 elements");
}

}  // namespace

void permute(const Half* x, const int* place, Half* out, Int tokens, Int width, Int top_k,
             cudaStream_t stream) {
  by_top_k(top_k, [&](auto k) {
    by_width(width, [&](auto vectors) {
      permute_kernel<k, vectors><<<static_cast<unsigned>(tokens), threads_of(width, vectors), 0, stream>>>(
          x, place, out, static_cast<int>(width));
    });
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
