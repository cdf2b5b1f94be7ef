// The cast to fp8, the residual sum, the rotary embedding and copies.
#include <cuda_fp8.h>

#include <cmath>

#include "pieces.hpp"
#include "vectors.hpp"

namespace measure {
namespace {

/// 16 threads hold a group of 128 elements that share a scale; a thread has four groups in flight.
__global__ void fp8_cast_kernel(const Half* __restrict__ x, std::uint8_t* __restrict__ out,
                                float* __restrict__ scales, Int count) {
  constexpr float largest = 448;  // of e4m3
  Eight held[4];
  const Int first = blockIdx.x * static_cast<Int>(blockDim.x * 4) + threadIdx.x;
#pragma unroll
  for (int v = 0; v < 4; ++v) {
    const Int index = first + v * blockDim.x;
    if (index < count) held[v] = load_once(x + index * vector);
  }
#pragma unroll
  for (int v = 0; v < 4; ++v) {
    const Int index = first + v * blockDim.x;
    float most = 1e-12f;
    if (index < count)
      for (const Half value : held[v].value) most = fmaxf(most, fabsf(real(value)));
    for (int distance = 8; distance > 0; distance /= 2)
      most = fmaxf(most, __shfl_xor_sync(~0u, most, distance));
    if (index >= count) continue;
    const float scale = __fdividef(largest, most);
    alignas(8) __nv_fp8x2_storage_t result[vector / 2];
#pragma unroll
    for (int i = 0; i < vector; i += 2)
      result[i / 2] =
          __nv_cvt_float2_to_fp8x2(float2{real(held[v].value[i]) * scale, real(held[v].value[i + 1]) * scale},
                                   __NV_SATFINITE, __NV_E4M3);
    __stcs(reinterpret_cast<uint2*>(out + index * vector), *reinterpret_cast<const uint2*>(result));
    if (index % 16 == 0) scales[index / 16] = most * (1 / largest);
  }
}

__global__ void residual_kernel(const Half* __restrict__ a, const Half* __restrict__ b,
                                Half* __restrict__ out, Int count) {
  Eight left[per_thread], right[per_thread];
  const Int first = blockIdx.x * static_cast<Int>(blockDim.x * per_thread) + threadIdx.x;
#pragma unroll
  for (int v = 0; v < per_thread; ++v) {
    const Int index = first + v * blockDim.x;
    if (index >= count) continue;
    left[v] = load_once(a + index * vector);
    right[v] = load_once(b + index * vector);
  }
#pragma unroll
  for (int v = 0; v < per_thread; ++v) {
    const Int index = first + v * blockDim.x;
    if (index >= count) continue;
    Eight result;
    for (int i = 0; i < vector; ++i)
      result.value[i] = __float2bfloat16(real(left[v].value[i]) + real(right[v].value[i]));
    store(out + index * vector, result);
  }
}

/// Neighbouring elements are a pair; the angle falls with the pair's place in its head, by the same factor
/// from pair to pair. Blocks go along x over rows, along y over parts of a row.
__global__ void rotary_kernel(const Half* __restrict__ x, Half* __restrict__ out, int width, int head,
                              float slope, float falling) {
  constexpr int in_flight = 4;
  const Int row = blockIdx.x;
  const int first = (blockIdx.y * blockDim.x * in_flight + threadIdx.x) * vector;
  Eight held[in_flight];
#pragma unroll
  for (int v = 0; v < in_flight; ++v) {
    const int column = first + v * static_cast<int>(blockDim.x) * vector;
    if (column < width) held[v] = load_once(x + row * width + column);
  }
#pragma unroll
  for (int v = 0; v < in_flight; ++v) {
    const int column = first + v * static_cast<int>(blockDim.x) * vector;
    if (column >= width) continue;
    float angle = static_cast<float>(row) * __expf(slope * static_cast<float>(column % head));
    Eight result;
    for (int i = 0; i < vector; i += 2) {
      float sine = 0, cosine = 0;
      __sincosf(angle, &sine, &cosine);
      angle *= falling;
      const float a = real(held[v].value[i]), b = real(held[v].value[i + 1]);
      result.value[i] = __float2bfloat16(a * cosine - b * sine);
      result.value[i + 1] = __float2bfloat16(a * sine + b * cosine);
    }
    store_once(out + row * width + column, result);
  }
}

__global__ void copy_kernel(const uint4* __restrict__ from, uint4* __restrict__ to, Int count) {
  uint4 held[4];
  const Int first = blockIdx.x * static_cast<Int>(blockDim.x * 4) + threadIdx.x;
#pragma unroll
  for (int v = 0; v < 4; ++v)
    if (first + v * blockDim.x < count) held[v] = __ldcs(from + first + v * blockDim.x);
#pragma unroll
  for (int v = 0; v < 4; ++v)
    if (first + v * blockDim.x < count) __stcs(to + first + v * blockDim.x, held[v]);
}

}  // namespace

void fp8_cast(const Half* x, std::uint8_t* out, float* scales, Int rows, Int width, cudaStream_t stream) {
  const Int count = rows * width / vector;
  fp8_cast_kernel<<<blocks(count, 256 * 4), 256, 0, stream>>>(x, out, scales, count);
  check_launch("fp8_cast");
}

void residual(const Half* a, const Half* b, Half* out, Int rows, Int width, cudaStream_t stream) {
  const Int count = rows * width / vector;
  residual_kernel<<<blocks(count, 256 * per_thread), 256, 0, stream>>>(a, b, out, count);
  check_launch("residual");
}

void rotary(const Half* x, Half* out, Int rows, Int width, Int head, cudaStream_t stream) {
  const Parts parts(rows, width, 4);
  const double slope = -9.2103 / static_cast<double>(head);
  rotary_kernel<<<parts.grid, parts.block, 0, stream>>>(x, out, static_cast<int>(width),
                                                        static_cast<int>(head), static_cast<float>(slope),
                                                        static_cast<float>(std::exp(2 * slope)));
  check_launch("rotary");
}

void copy(const void* from, void* to, std::size_t bytes, cudaStream_t stream) {
  const Int count = static_cast<Int>(bytes / 16);
  copy_kernel<<<blocks(count, 512 * 4), 512, 0, stream>>>(static_cast<const uint4*>(from),
                                                          static_cast<uint4*>(to), count);
  check_launch("copy");
}

}  // namespace measure
