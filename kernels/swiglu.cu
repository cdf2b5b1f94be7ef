// SwiGLU and its gradient.
#include "pieces.hpp"
#include "vectors.hpp"

namespace measure {
namespace {

/// silu and its slope.
__device__ float sigmoid(float value) { return __fdividef(1, 1 + __expf(-value)); }

/// Blocks go along x over rows, along y over parts of a row.
__global__ void swiglu_kernel(const Half* __restrict__ x, Half* __restrict__ out, int width) {
  const Half* from = x + static_cast<Int>(blockIdx.x) * 2 * width;
  Half* to = out + static_cast<Int>(blockIdx.x) * width;
  const int first = (blockIdx.y * blockDim.x * per_thread + threadIdx.x) * vector;
  Eight gate[per_thread], up[per_thread];
#pragma unroll
  for (int v = 0; v < per_thread; ++v) {
    const int column = first + v * static_cast<int>(blockDim.x) * vector;
    if (column >= width) continue;
    gate[v] = load_once(from + column);
    up[v] = load_once(from + width + column);
  }
#pragma unroll
  for (int v = 0; v < per_thread; ++v) {
    const int column = first + v * static_cast<int>(blockDim.x) * vector;
    if (column >= width) continue;
    Eight result;
    for (int i = 0; i < vector; ++i) {
      const float value = real(gate[v].value[i]);
      result.value[i] = __float2bfloat16(value * sigmoid(value) * real(up[v].value[i]));
    }
    store(to + column, result);
  }
}

__global__ void swiglu_backward_kernel(const Half* __restrict__ gradient, const Half* __restrict__ x,
                                       Half* __restrict__ out, int width) {
  const Int row = static_cast<Int>(blockIdx.x) * width;
  const int first = (blockIdx.y * blockDim.x * per_thread + threadIdx.x) * vector;
  Eight gate[per_thread], up[per_thread], slope[per_thread];
#pragma unroll
  for (int v = 0; v < per_thread; ++v) {
    const int column = first + v * static_cast<int>(blockDim.x) * vector;
    if (column >= width) continue;
    gate[v] = load_once(x + 2 * row + column);
    up[v] = load_once(x + 2 * row + width + column);
    slope[v] = load_once(gradient + row + column);
  }
#pragma unroll
  for (int v = 0; v < per_thread; ++v) {
    const int column = first + v * static_cast<int>(blockDim.x) * vector;
    if (column >= width) continue;
    Eight of_gate, of_up;
    for (int i = 0; i < vector; ++i) {
      const float value = real(gate[v].value[i]), step = real(slope[v].value[i]);
      const float s = sigmoid(value);
      of_gate.value[i] = __float2bfloat16(step * real(up[v].value[i]) * s * (1 + value * (1 - s)));
      of_up.value[i] = __float2bfloat16(step * value * s);
    }
    store_once(out + 2 * row + column, of_gate);
    store_once(out + 2 * row + width + column, of_up);
  }
}

}  // namespace

void swiglu(const Half* x, Half* out, Int rows, Int width, cudaStream_t stream) {
  const Parts parts(rows, width);
  swiglu_kernel<<<parts.grid, parts.block, 0, stream>>>(x, out, static_cast<int>(width));
  check_launch("swiglu");
}

void swiglu_backward(const Half* gradient, const Half* x, Half* out, Int rows, Int width,
                     cudaStream_t stream) {
  const Parts parts(rows, width);
  swiglu_backward_kernel<<<parts.grid, parts.block, 0, stream>>>(gradient, x, out, static_cast<int>(width));
  check_launch("swiglu_backward");
}

}  // namespace measure
