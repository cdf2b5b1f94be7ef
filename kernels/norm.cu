// RMSNorm and its gradients.
#include <algorithm>
#include <stdexcept>
#include <utility>

#include "pieces.hpp"
#include "vectors.hpp"

namespace measure {
namespace {

/// The sum over the `Threads` neighbouring threads that share a row; Threads divides the block.
template <int Threads>
__device__ float sum_over(float value) {
  value = sum_over_lanes<(Threads < lanes ? Threads : lanes)>(value);
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

/// How the backward pass shares rows: `Threads` of a block hold one, with `Vectors` times 8 elements each.
template <int Threads, int Vectors>
struct Shared {
  static constexpr int block = 512;
  static constexpr int groups = block / Threads;
  /// Rows of each group in shared memory: the one that is computed and those on their way.
  static constexpr int stages = Vectors > 2 ? 3 : Vectors > 1 ? 6 : 8;
  static constexpr int bytes = stages * Vectors * 2 * block * static_cast<int>(sizeof(Eight));
  static_assert(bytes <= 200 << 10);
};

__device__ void fetch(uint4* to, const Half* from) {
  asm volatile(
      "cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(static_cast<unsigned>(__cvta_generic_to_shared(to))),
      "l"(from)
      : "memory");
}
__device__ void end_of_row() { asm volatile("cp.async.commit_group;" ::: "memory"); }
/// All but the `Later` rows asked for last are there.
template <int Later>
__device__ void await_row() {
  asm volatile("cp.async.wait_group %0;" ::"n"(Later) : "memory");
}

/// Both sums over the threads of a row; `turn` alternates, so that one barrier a row is enough.
template <int Threads, int Block>
__device__ float2 sums_over(float2 value, int turn) {
  value.x = sum_over_lanes<(Threads < lanes ? Threads : lanes)>(value.x);
  value.y = sum_over_lanes<(Threads < lanes ? Threads : lanes)>(value.y);
  if constexpr (Threads > lanes) {
    constexpr int warps = Threads / lanes;
    __shared__ float2 parts[2][Block / lanes];
    const int group = threadIdx.x / Threads;
    if (threadIdx.x % lanes == 0) parts[turn][threadIdx.x / lanes] = value;
    asm volatile("bar.sync %0, %1;" ::"r"(1 + group), "n"(Threads) : "memory");
    value = {0, 0};
#pragma unroll
    for (int i = 0; i < warps; ++i) {
      const float2 part = parts[turn][group * warps + i];
      value.x += part.x, value.y += part.y;
    }
  }
  return value;
}

/// dx = (w dy - x (x . w dy) / (width rms^2)) / rms. Groups of threads go through rows, the next ones on
/// their way to shared memory, with the weight's gradient of their columns in registers, and add it at the
/// end. Each thread reads what it fetched itself.
template <int Threads, int Vectors>
__global__ void __launch_bounds__(Shared<Threads, Vectors>::block, 1)
    rms_norm_backward_kernel(const Half* __restrict__ gradient, const Half* __restrict__ x,
                             const Half* __restrict__ weight, Half* __restrict__ out,
                             float* __restrict__ weight_gradient, Int rows, int width) {
  using S = Shared<Threads, Vectors>;
  extern __shared__ uint4 ring[];
  const int lane = threadIdx.x % Threads, group = threadIdx.x / Threads;
  const Int step = static_cast<Int>(gridDim.x) * S::groups;
  const auto slot = [&](int stage, int v, int which) {
    return ring + ((stage * Vectors + v) * 2 + which) * S::block + threadIdx.x;
  };
  const auto ask = [&](Int row, int stage) {
#pragma unroll
    for (int v = 0; v < Vectors; ++v) {
      const int column = (v * Threads + lane) * vector;
      if (row >= rows || column >= width) continue;
      fetch(slot(stage, v, 0), x + row * width + column);
      fetch(slot(stage, v, 1), gradient + row * width + column);
    }
    end_of_row();
  };
  float sums[Vectors][vector] = {};
  Int row = blockIdx.x * static_cast<Int>(S::groups) + group;
  for (int i = 0; i < S::stages; ++i) ask(row + i * step, i);
  int stage = 0;
  for (int turn = 0; row - group < rows; row += step, turn ^= 1) {
    await_row<S::stages - 1>();
    const bool here = row < rows;
    float2 found{0, 0};
#pragma unroll
    for (int v = 0; v < Vectors; ++v) {
      const int column = (v * Threads + lane) * vector;
      if (!here || column >= width) continue;
      const Eight held = *reinterpret_cast<const Eight*>(slot(stage, v, 0));
      const Eight slope = *reinterpret_cast<const Eight*>(slot(stage, v, 1));
      const Eight weights = load(weight + column);
      for (int i = 0; i < vector; ++i) {
        const float value = real(held.value[i]);
        found.x += value * value;
        found.y += value * real(slope.value[i]) * real(weights.value[i]);
      }
    }
    found = sums_over<Threads, S::block>(found, turn);
    asm volatile("" ::: "memory");  // what was read is read again: registers are for the sums
    const float scale = rsqrtf(found.x / static_cast<float>(width) + 1e-6f);
    const float shift = found.y * scale * scale * scale / static_cast<float>(width);
#pragma unroll
    for (int v = 0; v < Vectors; ++v) {
      const int column = (v * Threads + lane) * vector;
      if (!here || column >= width) continue;
      const Eight held = *reinterpret_cast<const Eight*>(slot(stage, v, 0));
      const Eight slope = *reinterpret_cast<const Eight*>(slot(stage, v, 1));
      const Eight weights = load(weight + column);
      Eight result;
      for (int i = 0; i < vector; ++i) {
        const float value = real(held.value[i]), rise = real(slope.value[i]) * scale;
        result.value[i] = __float2bfloat16(rise * real(weights.value[i]) - value * shift);
        sums[v][i] += rise * value;
      }
      store_once(out + row * width + column, result);
    }
    ask(row + S::stages * step, stage);
    if (++stage == S::stages) stage = 0;
  }
  await_row<0>();
  __syncthreads();
  float* of_group = reinterpret_cast<float*>(ring);
#pragma unroll
  for (int v = 0; v < Vectors; ++v) {
    const int column = (v * Threads + lane) * vector;
    if (column >= width) continue;
    float4* to = reinterpret_cast<float4*>(of_group + group * width + column);
    to[0] = float4{sums[v][0], sums[v][1], sums[v][2], sums[v][3]};
    to[1] = float4{sums[v][4], sums[v][5], sums[v][6], sums[v][7]};
  }
  __syncthreads();
  // Each block begins elsewhere: they add to the same numbers, and all at the end.
  const int shift = static_cast<int>(blockIdx.x) * lanes % width;
  for (int i = threadIdx.x; i < width; i += S::block) {
    const int column = (i + shift) % width;
    float sum = 0;
    for (int g = 0; g < S::groups; ++g) sum += of_group[g * width + column];
    atomicAdd(weight_gradient + column, sum);
  }
}

template <int Threads, int Vectors>
using Split = std::pair<std::integral_constant<int, Threads>, std::integral_constant<int, Vectors>>;

/// Calls `run` with the first of the splits whose threads and vectors hold `width` elements.
template <class First, class... Rest, class Run>
void by_width(Int width, Run&& run) {
  if (width <= First::first_type::value * First::second_type::value * vector) return run(First{});
  if constexpr (sizeof...(Rest) > 0)
    by_width<Rest...>(width, run);
  else
    throw std::logic_error("rows of at most 16384 elements");
}

}  // namespace

void rms_norm(const Half* x, const Half* weight, Half* out, Int rows, Int width, cudaStream_t stream) {
  by_width<Split<8, 2>, Split<16, 4>, Split<128, 2>, Split<256, 2>, Split<256, 4>, Split<512, 4>>(
      width, [&](auto split) {
        constexpr int t = decltype(split.first)::value, v = decltype(split.second)::value;
        constexpr int block = std::max(t, 256);
        rms_norm_kernel<t, v>
            <<<blocks(rows, block / t), block, 0, stream>>>(x, weight, out, rows, static_cast<int>(width));
      });
  check_launch("rms_norm");
}

void rms_norm_backward(const Half* gradient, const Half* x, const Half* weight, Half* out,
                       float* weight_gradient, Int rows, Int width, cudaStream_t stream) {
  int device = 0, multiprocessors = 0;
  check(cudaGetDevice(&device), "cudaGetDevice");
  check(cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, device),
        "cudaDeviceGetAttribute");
  by_width<Split<16, 1>, Split<32, 2>, Split<32, 4>, Split<64, 4>, Split<128, 4>, Split<256, 4>,
           Split<512, 4>>(width, [&](auto split) {
    constexpr int t = decltype(split.first)::value, v = decltype(split.second)::value;
    using S = Shared<t, v>;
    const auto kernel = rms_norm_backward_kernel<t, v>;
    check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, S::bytes),
          "cudaFuncSetAttribute");
    const unsigned grid = std::min(blocks(rows, S::groups), static_cast<unsigned>(multiprocessors));
    kernel<<<grid, S::block, S::bytes, stream>>>(gradient, x, weight, out, weight_gradient, rows,
                                                 static_cast<int>(width));
  });
  check_launch("rms_norm_backward");
}

}  // namespace measure
