#include "pieces.hpp"

#include <cuda_fp8.h>

#include <algorithm>
#include <stdexcept>

#include "check.hpp"

namespace measure {
namespace {

constexpr int lanes = 32;
constexpr int vector = 8;  // elements of 16 bytes

struct alignas(16) Eight {
  Half value[vector];
};

__device__ Eight load(const Half* from) { return *reinterpret_cast<const Eight*>(from); }
__device__ void store(Half* to, const Eight& eight) { *reinterpret_cast<Eight*>(to) = eight; }

/// Loads without keeping the line: it is read once.
__device__ Eight load_once(const Half* from) {
  const uint4 raw = __ldcs(reinterpret_cast<const uint4*>(from));
  Eight eight;
  *reinterpret_cast<uint4*>(&eight) = raw;
  return eight;
}
__device__ void store_once(Half* to, const Eight& eight) {
  __stcs(reinterpret_cast<uint4*>(to), *reinterpret_cast<const uint4*>(&eight));
}

__device__ float real(Half value) { return __bfloat162float(value); }

/// The sum over the `Threads` neighbouring threads that share a row; Threads divides the block.
template <int Threads>
__device__ float sum_over(float value) {
  for (int distance = min(Threads, lanes) / 2; distance > 0; distance /= 2)
    value += __shfl_xor_sync(0xffffffffu, value, distance);
  if constexpr (Threads > lanes) {
    __shared__ float parts[lanes];
    const int warp = threadIdx.x / lanes;
    __syncthreads();
    if (threadIdx.x % lanes == 0) parts[warp] = value;
    __syncthreads();
    value = 0;
    for (int i = 0; i < Threads / lanes; ++i)
      value += parts[warp / (Threads / lanes) * (Threads / lanes) + i];
  }
  return value;
}

/// A row is held by `Threads` threads, `Vectors` times 8 elements each; rows that are narrower leave some
/// idle.
template <int Threads, int Vectors>
__global__ void rms_norm_kernel(const Half* __restrict__ x, const Half* __restrict__ weight,
                                Half* __restrict__ out, Int rows, int width) {
  const int lane = threadIdx.x % Threads;
  const Int row = blockIdx.x * static_cast<Int>(blockDim.x / Threads) + threadIdx.x / Threads;
  const bool here = row < rows;
  Eight held[Vectors];
  float squares = 0;
#pragma unroll
  for (int v = 0; v < Vectors; ++v) {
    const int column = (v * Threads + lane) * vector;
    if (!here || column >= width) continue;
    held[v] = load_once(x + row * width + column);
  }
#pragma unroll
  for (int v = 0; v < Vectors; ++v) {
    const int column = (v * Threads + lane) * vector;
    if (!here || column >= width) continue;
    for (const Half value : held[v].value) squares += real(value) * real(value);
  }
  const float scale = rsqrtf(sum_over<Threads>(squares) / static_cast<float>(width) + 1e-6f);
#pragma unroll
  for (int v = 0; v < Vectors; ++v) {
    const int column = (v * Threads + lane) * vector;
    if (!here || column >= width) continue;
    const Eight weights = load(weight + column);
    Eight result;
    for (int i = 0; i < vector; ++i)
      result.value[i] = __float2bfloat16(real(held[v].value[i]) * scale * real(weights.value[i]));
    store(out + row * width + column, result);
  }
}

/// dx = (w dy - x (x . w dy) / (width rms^2)) / rms. A block goes through rows with the weight's gradient of
/// its columns in registers, and leaves it in `partial` (blocks, width).
template <int Threads, int Vectors>
__global__ void rms_norm_backward_kernel(const Half* __restrict__ gradient, const Half* __restrict__ x,
                                         const Half* __restrict__ weight, Half* __restrict__ out,
                                         float* __restrict__ partial, Int rows, int width) {
  constexpr int block = Threads > 256 ? Threads : 256, groups = block / Threads;
  const int lane = threadIdx.x % Threads;
  const int each = groups;
  float sums[Vectors][vector] = {};
  for (Int first = blockIdx.x * static_cast<Int>(each); first < rows;
       first += static_cast<Int>(gridDim.x) * each) {
    const Int row = first + threadIdx.x / Threads;
    const bool here = row < rows;
    Eight held[Vectors], slope[Vectors];
#pragma unroll
    for (int v = 0; v < Vectors; ++v) {
      const int column = (v * Threads + lane) * vector;
      if (!here || column >= width) continue;
      held[v] = load_once(x + row * width + column);
      slope[v] = load_once(gradient + row * width + column);
    }
    float squares = 0, dot = 0;
#pragma unroll
    for (int v = 0; v < Vectors; ++v) {
      const int column = (v * Threads + lane) * vector;
      if (!here || column >= width) continue;
      const Eight weights = load(weight + column);
      for (int i = 0; i < vector; ++i) {
        const float value = real(held[v].value[i]);
        squares += value * value;
        dot += value * real(slope[v].value[i]) * real(weights.value[i]);
      }
    }
    const float scale = rsqrtf(sum_over<Threads>(squares) / static_cast<float>(width) + 1e-6f);
    const float shift = sum_over<Threads>(dot) * scale * scale / static_cast<float>(width);
#pragma unroll
    for (int v = 0; v < Vectors; ++v) {
      const int column = (v * Threads + lane) * vector;
      if (!here || column >= width) continue;
      const Eight weights = load(weight + column);
      Eight result;
      for (int i = 0; i < vector; ++i) {
        const float value = real(held[v].value[i]), step = real(slope[v].value[i]);
        result.value[i] = __float2bfloat16(scale * (step * real(weights.value[i]) - value * shift));
        sums[v][i] += step * value * scale;
      }
      store(out + row * width + column, result);
    }
  }
  float* own = partial + static_cast<Int>(blockIdx.x) * width;
  if constexpr (groups == 1) {
    for (int v = 0; v < Vectors; ++v) {
      const int column = (v * Threads + lane) * vector;
      for (int i = 0; i < vector && column < width; ++i) own[column + i] = sums[v][i];
    }
  } else {
    __shared__ float of_group[groups][Threads * Vectors * vector];
    for (int v = 0; v < Vectors; ++v)
      for (int i = 0; i < vector; ++i)
        of_group[threadIdx.x / Threads][(v * Threads + lane) * vector + i] = sums[v][i];
    __syncthreads();
    for (int column = threadIdx.x; column < width; column += block) {
      float sum = 0;
      for (int g = 0; g < groups; ++g) sum += of_group[g][column];
      own[column] = sum;
    }
  }
}

/// Adds the partial sums of all blocks: 32 columns a block, 16 threads a column.
__global__ void add_partial(const float* __restrict__ partial, float* __restrict__ sums, int count,
                            int width) {
  __shared__ float held[16][33];
  const int column = blockIdx.x * 32 + threadIdx.x;
  float sum = 0;
  for (int row = threadIdx.y; row < count && column < width; row += 16)
    sum += partial[static_cast<Int>(row) * width + column];
  held[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y != 0 || column >= width) return;
  for (int i = 1; i < 16; ++i) sum += held[i][threadIdx.x];
  sums[column] += sum;
}

/// silu and its slope.
__device__ float sigmoid(float value) { return 1 / (1 + __expf(-value)); }

constexpr int per_thread = 2;  // vectors in flight

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

constexpr int most_experts = 512;

/// A logit and its expert in one number that orders as logits do, the lower expert first among equals. Zero
/// is below all of them.
__device__ unsigned key_of(Half logit, int expert) {
  const unsigned bits = __bfloat16_as_ushort(logit);
  const unsigned ordered = (bits & 0x8000u) != 0 ? ~bits & 0xffffu : bits | 0x8000u;
  return ordered * most_experts + static_cast<unsigned>(most_experts - 1 - expert);
}
__device__ float logit_of(unsigned key) {
  const unsigned ordered = key / most_experts;
  return real(__ushort_as_bfloat16(
      static_cast<unsigned short>((ordered & 0x8000u) != 0 ? ordered & 0x7fffu : ~ordered & 0xffffu)));
}

/// One warp a token; a lane holds `PerLane` experts.
template <int PerLane>
__global__ void router_kernel(const Half* __restrict__ logits, float* __restrict__ probabilities,
                              float* __restrict__ weights, int* __restrict__ choices, Int tokens, int experts,
                              int top_k) {
  const Int token = blockIdx.x * static_cast<Int>(blockDim.x / lanes) + threadIdx.x / lanes;
  const int lane = threadIdx.x % lanes;
  if (token >= tokens) return;
  float held[PerLane];
  unsigned keys[PerLane];
  Half raw[PerLane];
#pragma unroll
  for (int i = 0; i < PerLane; ++i) {
    const int expert = i * lanes + lane;
    if (expert < experts) raw[i] = __ldcs(logits + token * experts + expert);
  }
  unsigned best = 0;
#pragma unroll
  for (int i = 0; i < PerLane; ++i) {
    const int expert = i * lanes + lane;
    held[i] = expert < experts ? real(raw[i]) : -INFINITY;
    keys[i] = expert < experts ? key_of(raw[i], expert) : 0;
    best = max(best, keys[i]);
  }
  unsigned top = __reduce_max_sync(~0u, best);
  const float most = logit_of(top);
  float total = 0;
#pragma unroll
  for (int i = 0; i < PerLane; ++i) total += held[i] = __expf(held[i] - most);
  for (int distance = lanes / 2; distance > 0; distance /= 2) total += __shfl_xor_sync(~0u, total, distance);
  const float share = 1 / total;
#pragma unroll
  for (int i = 0; i < PerLane; ++i) {
    const int expert = i * lanes + lane;
    if (expert < experts) probabilities[token * experts + expert] = held[i] * share;
  }
  unsigned mine = top;  // lane j keeps the choice of rank j
  for (int j = 1; j < top_k; ++j) {
    best = 0;
#pragma unroll
    for (int i = 0; i < PerLane; ++i) {
      if (keys[i] == top) keys[i] = 0;
      best = max(best, keys[i]);
    }
    top = __reduce_max_sync(~0u, best);
    if (lane == j) mine = top;
  }
  if (lane >= top_k) return;
  weights[token * top_k + lane] = __expf(logit_of(mine) - most) * share;
  choices[token * top_k + lane] = most_experts - 1 - static_cast<int>(mine % most_experts);
}

/// dlogit = p (dp - sum of p dp): dp is not zero for the chosen experts alone.
template <int PerLane>
__global__ void router_backward_kernel(const float* __restrict__ probabilities,
                                       const float* __restrict__ gradients, const int* __restrict__ choices,
                                       Half* __restrict__ out, Int tokens, int experts, int top_k) {
  const Int token = blockIdx.x * static_cast<Int>(blockDim.x / lanes) + threadIdx.x / lanes;
  const int lane = threadIdx.x % lanes;
  if (token >= tokens) return;
  float p[PerLane], slope[PerLane];
#pragma unroll
  for (int i = 0; i < PerLane; ++i) {
    const int expert = i * lanes + lane;
    p[i] = expert < experts ? probabilities[token * experts + expert] : 0;
    slope[i] = 0;
  }
  const int choice = lane < top_k ? choices[token * top_k + lane] : -1;
  const float of_choice = lane < top_k ? gradients[token * top_k + lane] : 0;
  for (int j = 0; j < top_k; ++j) {
    const int expert = __shfl_sync(~0u, choice, j);
    const float step = __shfl_sync(~0u, of_choice, j);
#pragma unroll
    for (int i = 0; i < PerLane; ++i)
      if (i * lanes + lane == expert) slope[i] = step;
  }
  float dot = 0;
#pragma unroll
  for (int i = 0; i < PerLane; ++i) dot += p[i] * slope[i];
  for (int distance = lanes / 2; distance > 0; distance /= 2) dot += __shfl_xor_sync(~0u, dot, distance);
#pragma unroll
  for (int i = 0; i < PerLane; ++i) {
    const int expert = i * lanes + lane;
    if (expert < experts) out[token * experts + expert] = __float2bfloat16(p[i] * (slope[i] - dot));
  }
}

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

/// 16 threads hold a group of 128 elements; each takes two groups.
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
    const float scale = largest / most;
    alignas(8) __nv_fp8_storage_t result[vector];
    for (int i = 0; i < vector; ++i)
      result[i] = __nv_cvt_float_to_fp8(real(held[v].value[i]) * scale, __NV_SATFINITE, __NV_E4M3);
    *reinterpret_cast<uint2*>(out + index * vector) = *reinterpret_cast<const uint2*>(result);
    if (index % 16 == 0) scales[index / 16] = most / largest;
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

/// Neighbouring elements are a pair; the angle falls with the pair's place in its head.
__global__ void rotary_kernel(const Half* __restrict__ x, Half* __restrict__ out, Int count, int row_vectors,
                              int head) {
  const Int first = blockIdx.x * static_cast<Int>(blockDim.x * per_thread) + threadIdx.x;
#pragma unroll
  for (int v = 0; v < per_thread; ++v) {
    const Int index = first + v * blockDim.x;
    if (index >= count) continue;
    const Eight held = load_once(x + index * vector);
    const Int position = index / row_vectors;
    const int place = static_cast<int>(index % row_vectors) * vector % head;
    Eight result;
    for (int i = 0; i < vector; i += 2) {
      const float angle = static_cast<float>(position) *
                          __expf(-9.2103f * static_cast<float>(place + i) / static_cast<float>(head));
      float sine = 0, cosine = 0;
      __sincosf(angle, &sine, &cosine);
      const float a = real(held.value[i]), b = real(held.value[i + 1]);
      result.value[i] = __float2bfloat16(a * cosine - b * sine);
      result.value[i + 1] = __float2bfloat16(a * sine + b * cosine);
    }
    store(out + index * vector, result);
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

unsigned blocks(Int count, Int each) { return static_cast<unsigned>((count + each - 1) / each); }

/// A grid over rows and parts of rows.
struct Parts {
  Parts(Int rows, Int width)
      : block(static_cast<unsigned>(
            std::clamp<Int>((width / vector / per_thread + lanes - 1) / lanes * lanes, lanes, 256))),
        grid(static_cast<unsigned>(rows), blocks(width / vector, static_cast<Int>(block) * per_thread)) {}
  unsigned block;
  dim3 grid;
};

/// Calls `run` with the number of threads of a row and vectors of a thread that hold `width` elements.
template <class Run>
void by_width(Int width, Run&& run) {
  const auto threads = [](auto t, auto v, auto& f) { f(t, v); };
  if (width <= 128) return threads(std::integral_constant<int, 16>{}, std::integral_constant<int, 1>{}, run);
  if (width <= 512) return threads(std::integral_constant<int, 32>{}, std::integral_constant<int, 2>{}, run);
  if (width <= 2048)
    return threads(std::integral_constant<int, 128>{}, std::integral_constant<int, 2>{}, run);
  if (width <= 4096)
    return threads(std::integral_constant<int, 256>{}, std::integral_constant<int, 2>{}, run);
  if (width <= 8192)
    return threads(std::integral_constant<int, 256>{}, std::integral_constant<int, 4>{}, run);
  if (width <= 16384)
    return threads(std::integral_constant<int, 512>{}, std::integral_constant<int, 4>{}, run);
  throw std::logic_error("rows of at most 16384 elements");
}

}  // namespace

void rms_norm(const Half* x, const Half* weight, Half* out, Int rows, Int width, cudaStream_t stream) {
  by_width(width, [&](auto threads, auto vectors) {
    constexpr int t = decltype(threads)::value, v = decltype(vectors)::value, block = std::max(t, 256);
    rms_norm_kernel<t, v>
        <<<blocks(rows, block / t), block, 0, stream>>>(x, weight, out, rows, static_cast<int>(width));
  });
  check_launch("rms_norm");
}

void rms_norm_backward(const Half* gradient, const Half* x, const Half* weight, Half* out,
                       float* weight_gradient, float* partial, Int rows, Int width, cudaStream_t stream) {
  unsigned grid = rms_norm_blocks;
  by_width(width, [&](auto threads, auto vectors) {
    constexpr int t = decltype(threads)::value, v = decltype(vectors)::value, block = std::max(t, 256);
    grid = std::min(blocks(rows, block / t), static_cast<unsigned>(rms_norm_blocks));
    rms_norm_backward_kernel<t, v>
        <<<grid, block, 0, stream>>>(gradient, x, weight, out, partial, rows, static_cast<int>(width));
  });
  add_partial<<<blocks(width, 32), dim3(32, 16), 0, stream>>>(
      partial, weight_gradient, static_cast<int>(grid), static_cast<int>(width));
  check_launch("rms_norm_backward");
}

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

void router(const Half* logits, float* probabilities, float* weights, int* choices, Int tokens, Int experts,
            Int top_k, cudaStream_t stream) {
  const int e = static_cast<int>(experts), k = static_cast<int>(top_k);
  const auto run = [&](auto each) {
    router_kernel<decltype(each)::value>
        <<<blocks(tokens, 4), 128, 0, stream>>>(logits, probabilities, weights, choices, tokens, e, k);
  };
  if (e <= 32)
    run(std::integral_constant<int, 1>{});
  else if (e <= 64)
    run(std::integral_constant<int, 2>{});
  else if (e <= 128)
    run(std::integral_constant<int, 4>{});
  else if (e <= 256)
    run(std::integral_constant<int, 8>{});
  else if (e <= 512)
    run(std::integral_constant<int, 16>{});
  else
    throw std::logic_error("at most 512 experts");
  check_launch("router");
}

void router_backward(const float* probabilities, const float* gradients, const int* choices, Half* out,
                     Int tokens, Int experts, Int top_k, cudaStream_t stream) {
  const int e = static_cast<int>(experts), k = static_cast<int>(top_k);
  const auto run = [&](auto each) {
    router_backward_kernel<decltype(each)::value>
        <<<blocks(tokens, 4), 128, 0, stream>>>(probabilities, gradients, choices, out, tokens, e, k);
  };
  if (e <= 32)
    run(std::integral_constant<int, 1>{});
  else if (e <= 64)
    run(std::integral_constant<int, 2>{});
  else if (e <= 128)
    run(std::integral_constant<int, 4>{});
  else if (e <= 256)
    run(std::integral_constant<int, 8>{});
  else if (e <= 512)
    run(std::integral_constant<int, 16>{});
  else
    throw std::logic_error("at most 512 experts");
  check_launch("router_backward");
}

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
  const Int count = rows * width / vector;
  rotary_kernel<<<blocks(count, 256 * per_thread), 256, 0, stream>>>(
      x, out, count, static_cast<int>(width / vector), static_cast<int>(head));
  check_launch("rotary");
}

void copy(const void* from, void* to, std::size_t bytes, cudaStream_t stream) {
  const Int count = static_cast<Int>(bytes / 16);
  copy_kernel<<<blocks(count, 512 * 4), 512, 0, stream>>>(static_cast<const uint4*>(from),
                                                          static_cast<uint4*>(to), count);
  check_launch("copy");
}

}  // namespace measure
