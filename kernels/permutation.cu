// Rows to the order of experts and back.
#include <algorithm>
#include <stdexcept>

#include "pieces.hpp"
#include "vectors.hpp"

namespace measure {
namespace {

/// One block of 128 threads a row of up to 4096 elements at a time.
__global__ void permute_kernel(const Half* __restrict__ x, const int* __restrict__ source,
                               Half* __restrict__ out, int width) {
  const Int row = blockIdx.x;
  const Half* from = x + static_cast<Int>(source[row]) * width;
  Half* to = out + row * width;
  for (int column = threadIdx.x * vector; column < width; column += blockDim.x * vector * 4) {
    Eight held[4];
#pragma unroll
    for (int v = 0; v < 4; ++v) {
      const int here = column + v * blockDim.x * vector;
      if (here < width) held[v] = load(from + here);
    }
#pragma unroll
    for (int v = 0; v < 4; ++v) {
      const int here = column + v * blockDim.x * vector;
      if (here < width) store_once(to + here, held[v]);
    }
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

}  // namespace

void permute(const Half* x, const int* source, Half* out, Int rows, Int width, cudaStream_t stream) {
  permute_kernel<<<static_cast<unsigned>(rows), 128, 0, stream>>>(x, source, out, static_cast<int>(width));
  check_launch("permute");
}

void unpermute(const Half* x, const int* place, const float* weights, Half* out, Int tokens, Int width,
               Int top_k, cudaStream_t stream) {
  const unsigned grid = static_cast<unsigned>(tokens);
  const unsigned threads = static_cast<unsigned>(std::clamp<Int>((width / vector + 31) / 32 * 32, 32, 256));
  const int w = static_cast<int>(width);
  switch (top_k) {
    case 1:
      unpermute_kernel<1><<<grid, threads, 0, stream>>>(x, place, weights, out, w);
      break;
    case 2:
      unpermute_kernel<2><<<grid, threads, 0, stream>>>(x, place, weights, out, w);
      break;
    case 4:
      unpermute_kernel<4><<<grid, threads, 0, stream>>>(x, place, weights, out, w);
      break;
    case 6:
      unpermute_kernel<6><<<grid, threads, 0, stream>>>(x, place, weights, out, w);
      break;
    case 8:
      unpermute_kernel<8><<<grid, threads, 0, stream>>>(x, place, weights, out, w);
      break;
    default:
      throw std::logic_error("top_k of 1, 2, 4, 6 or 8");
  }
  check_launch("unpermute");
}

}  // namespace measure
