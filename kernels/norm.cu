// RMSNorm and its gradients.
#include <algorithm>
#include <stdexcept>

#include "pieces.hpp"
#include "vectors.hpp"

namespace measure {
namespace {

/// A row is held by `Lanes` neighbouring threads, or, for 0, by as many warps as its width needs; each has
/// `Vectors` times 8 elements. Rows that are narrower leave some idle.
template <int Lanes, int Vectors>
struct Split {
  static constexpr int lanes = Lanes, vectors = Vectors;
  static constexpr bool one_warp = Lanes > 0;
};

constexpr int most_threads = 512;
constexpr float epsilon = 1e-6f;

/// Where a thread is: the row of its block that it works on, and its place in it.
template <class S>
struct Position {
  __device__ explicit Position(int lanes_given)
      : lanes(S::one_warp ? S::lanes : lanes_given),
        group(static_cast<int>(threadIdx.x) / lanes),
        lane(static_cast<int>(threadIdx.x) % lanes),
        groups(static_cast<int>(blockDim.x) / lanes) {}
  __device__ int column(int v) const { return (v * lanes + lane) * vector; }
  int lanes, group, lane, groups;
};

template <class S>
__global__ void __launch_bounds__(most_threads)
    rms_norm_kernel(const Half* __restrict__ x, const Half* __restrict__ weight, Half* __restrict__ out,
                    Int rows, int width, int lanes_of_row) {
  const Position<S> at(lanes_of_row);
  const Int row = blockIdx.x * static_cast<Int>(at.groups) + at.group;
  Words held[S::vectors] = {}, weights[S::vectors] = {};
  bool mine[S::vectors];
#pragma unroll
  for (int v = 0; v < S::vectors; ++v) {
    mine[v] = row < rows && at.column(v) < width;
    if (mine[v]) held[v] = load_words_once(x + row * width + at.column(v));
  }
#pragma unroll
  for (int v = 0; v < S::vectors; ++v)
    if (mine[v]) weights[v] = load_words(weight + at.column(v));
  float squares = 0;
#pragma unroll
  for (int v = 0; v < S::vectors; ++v)
    for (const unsigned two : held[v].two)
      squares += lower(two) * lower(two), squares += upper(two) * upper(two);
  squares = sum_over_lanes < S::one_warp ? S::lanes : lanes > (squares);
  if constexpr (!S::one_warp) {
    __shared__ float of_warp[most_threads / lanes];
    if (threadIdx.x % lanes == 0) of_warp[threadIdx.x / lanes] = squares;
    __syncthreads();
    const int warps = at.lanes / lanes;
    squares = 0;
    for (int i = 0; i < warps; ++i) squares += of_warp[at.group * warps + i];
  }
  const float scale = rsqrtf(squares / static_cast<float>(width) + epsilon);
#pragma unroll
  for (int v = 0; v < S::vectors; ++v) {
    Words result;
#pragma unroll
    for (int i = 0; i < vector / 2; ++i)
      result.two[i] = packed(lower(held[v].two[i]) * scale * lower(weights[v].two[i]),
                             upper(held[v].two[i]) * scale * upper(weights[v].two[i]));
    if (mine[v]) store_once(out + row * width + at.column(v), result);
  }
}

/// Both sums over `Lanes` neighbouring lanes: the lower half of them adds one, the upper half the other.
/// `halves` leaves them so, .x in the lower lanes.
template <int Lanes>
__device__ float halves(float2 both) {
  const bool upper_half = (threadIdx.x & (Lanes / 2)) != 0;
  float sum = upper_half ? both.y : both.x;
  sum += __shfl_xor_sync(~0u, upper_half ? both.x : both.y, Lanes / 2);
  return sum_over_lanes<Lanes / 2>(sum);
}
template <int Lanes>
__device__ float2 sums_in_warp(float2 both) {
  const float sum = halves<Lanes>(both), other = __shfl_xor_sync(~0u, sum, Lanes / 2);
  return (threadIdx.x & (Lanes / 2)) != 0 ? float2{other, sum} : float2{sum, other};
}

/// What warps of a block tell each other: twice, so that one barrier a row is enough. A row's are an even
/// number, the last zero where its warps are odd.
using BetweenWarps = float2[2][3 * most_threads / lanes / 2];

/// Both sums over the warps of a row.
template <class S>
__device__ float2 sums_over_row(float2 both, const Position<S>& at, BetweenWarps& parts, int turn) {
  if constexpr (S::one_warp) {
    return sums_in_warp<S::lanes>(both);
  } else {
    const int warps = at.lanes / lanes, even = (warps + 1) / 2 * 2;
    float2* of_row = parts[turn] + at.group * even;
    const float sum = halves<lanes>(both);
    if (at.lane % (lanes / 2) == 0)
      reinterpret_cast<float*>(of_row + at.lane / lanes)[at.lane / (lanes / 2) % 2] = sum;
    asm volatile("bar.sync %0, %1;" ::"r"(1 + at.group), "r"(at.lanes) : "memory");
    both = {0, 0};
    for (int i = 0; i < even; i += 2) {
      const float4 two = *reinterpret_cast<const float4*>(of_row + i);
      both.x += two.x + two.z, both.y += two.y + two.w;
    }
    return both;
  }
}

__device__ void add_four(float* to, float4 of) {
#if __CUDA_ARCH__ >= 900
  asm volatile("red.global.add.v4.f32 [%0], {%1, %2, %3, %4};" ::"l"(to), "f"(of.x), "f"(of.y), "f"(of.z),
               "f"(of.w)
               : "memory");
#else
  atomicAdd(to, of.x), atomicAdd(to + 1, of.y), atomicAdd(to + 2, of.z), atomicAdd(to + 3, of.w);
#endif
}

template <class S>
using Sums = float[S::vectors][vector];

/// Adds the sums of all threads of a block to those in memory: its rows' first among each other.
template <class S>
__device__ void add_sums(const Sums<S>& sums, const Position<S>& at, float* to, int width) {
  const auto four = [&](int v, int i) {
    return float4{sums[v][i], sums[v][i + 1], sums[v][i + 2], sums[v][i + 3]};
  };
  if (at.groups == 1) {
#pragma unroll
    for (int v = 0; v < S::vectors; ++v)
      for (int i = 0; i < vector; i += 4)
        if (at.column(v) < width) add_four(to + at.column(v) + i, four(v, i));
    return;
  }
  // Rows of more vectors are alone in their block.
  constexpr int elements = S::vectors > 2 ? 4 : most_threads * S::vectors * vector;
  __shared__ float4 of_groups[elements / 4];
  const int quarters = width / 4;
#pragma unroll
  for (int v = 0; v < S::vectors; ++v)
    for (int i = 0; i < vector; i += 4)
      if (at.column(v) < width) of_groups[at.group * quarters + (at.column(v) + i) / 4] = four(v, i);
  __syncthreads();
  for (int q = static_cast<int>(threadIdx.x); q < quarters; q += static_cast<int>(blockDim.x)) {
    float4 sum{};
    for (int g = 0; g < at.groups; ++g) {
      const float4 part = of_groups[g * quarters + q];
      sum.x += part.x, sum.y += part.y, sum.z += part.z, sum.w += part.w;
    }
    add_four(to + 4 * q, sum);
  }
}

/// The gradient of eight elements, and what they add to the weight's.
__device__ Words gradient_of(const Words& x, const Words& slope, const Words& weight, float scale,
                             float shift, float* sums) {
  Words result;
#pragma unroll
  for (int i = 0; i < vector / 2; ++i) {
    const float low = lower(x.two[i]), high = upper(x.two[i]);
    const float low_rise = lower(slope.two[i]) * scale, high_rise = upper(slope.two[i]) * scale;
    result.two[i] = packed(low_rise * lower(weight.two[i]) - low * shift,
                           high_rise * upper(weight.two[i]) - high * shift);
    sums[2 * i] += low_rise * low, sums[2 * i + 1] += high_rise * high;
  }
  return result;
}

/// dx = (w dy - x (x . w dy) / (width rms^2)) / rms. Blocks stay and go through rows, the next one's elements
/// on their way to registers, with the weight's gradient of their columns in registers, and add it at the
/// end. Neighbouring rows are those of different blocks: the last round is all blocks'.
template <class S>
__global__ void __launch_bounds__(most_threads, S::vectors > 1 ? 1 : 2)
    rms_norm_backward_kernel(const Half* __restrict__ gradient, const Half* __restrict__ x,
                             const Half* __restrict__ weight, Half* __restrict__ out,
                             float* __restrict__ weight_gradient, Int rows, int width, int lanes_of_row) {
  const Position<S> at(lanes_of_row);
  __shared__ alignas(16) BetweenWarps parts;
  float2* const first = &parts[0][0];
  for (int i = static_cast<int>(threadIdx.x); i < static_cast<int>(sizeof parts / sizeof(float2));
       i += static_cast<int>(blockDim.x))
    first[i] = {};
  Words next_x[S::vectors], next_slope[S::vectors], weights[S::vectors];
  const auto read = [&](Int row) {
#pragma unroll
    for (int v = 0; v < S::vectors; ++v) {
      next_x[v] = next_slope[v] = {};
      if (row >= rows || at.column(v) >= width) continue;
      next_x[v] = load_words_once(x + row * width + at.column(v));
      next_slope[v] = load_words_once(gradient + row * width + at.column(v));
    }
  };
  const Int step = static_cast<Int>(gridDim.x) * at.groups;
  Int row = at.group * static_cast<Int>(gridDim.x) + blockIdx.x;
  read(row);
#pragma unroll
  for (int v = 0; v < S::vectors; ++v)
    weights[v] = at.column(v) < width ? load_words(weight + at.column(v)) : Words{};
  __syncthreads();
  const float share = 1 / static_cast<float>(width);
  Sums<S> sums = {};
  // Lanes of a warp with several rows stay together.
  const auto any = [&](Int here) { return S::one_warp ? __any_sync(~0u, here < rows) : here < rows; };
  for (int turn = 0; any(row); row += step, turn ^= 1) {
    Words held[S::vectors], slope[S::vectors];
#pragma unroll
    for (int v = 0; v < S::vectors; ++v) held[v] = next_x[v], slope[v] = next_slope[v];
    read(row + step);
    float2 found{0, 0};
#pragma unroll
    for (int v = 0; v < S::vectors; ++v) {
#pragma unroll
      for (int i = 0; i < vector / 2; ++i) {
        const unsigned a = held[v].two[i], b = slope[v].two[i], c = weights[v].two[i];
        found.x += lower(a) * lower(a), found.x += upper(a) * upper(a);
        found.y += lower(a) * (lower(b) * lower(c)), found.y += upper(a) * (upper(b) * upper(c));
      }
    }
    found = sums_over_row<S>(found, at, parts, turn);
    const float scale = rsqrtf(found.x * share + epsilon);
    const float shift = found.y * scale * scale * scale * share;
#pragma unroll
    for (int v = 0; v < S::vectors; ++v) {
      forget(held[v]), forget(slope[v]), forget(weights[v]);
      if (row >= rows || at.column(v) >= width) continue;
      store_once(out + row * width + at.column(v),
                 gradient_of(held[v], slope[v], weights[v], scale, shift, sums[v]));
    }
  }
  add_sums<S>(sums, at, weight_gradient, width);
}

/// Calls `run` with the split of a row of `width` elements and the threads that hold it.
template <class Run>
void by_width(Int width, Run&& run) {
  const auto whole_warps = [width](Int vectors) {
    return static_cast<int>(blocks(width, vectors * vector * lanes)) * lanes;
  };
  if (width <= 128) return run(Split<16, 1>{}, 16);
  if (width <= 256) return run(Split<32, 1>{}, 32);
  if (width <= 512) return run(Split<32, 2>{}, 32);
  if (width <= 8192) return run(Split<0, 2>{}, whole_warps(2));
  if (width <= 16384) return run(Split<0, 4>{}, whole_warps(4));
  throw std::logic_error("rows of at most 16384 elements");
}

}  // namespace

void rms_norm(const Half* x, const Half* weight, Half* out, Int rows, Int width, cudaStream_t stream) {
  by_width(width, [&](auto split, int lanes_of_row) {
    const int groups = std::max(1, 256 / lanes_of_row);
    rms_norm_kernel<decltype(split)><<<blocks(rows, groups), groups * lanes_of_row, 0, stream>>>(
        x, weight, out, rows, static_cast<int>(width), lanes_of_row);
  });
  check_launch("rms_norm");
}

void rms_norm_backward(const Half* gradient, const Half* x, const Half* weight, Half* out,
                       float* weight_gradient, Int rows, Int width, cudaStream_t stream) {
  int device = 0, multiprocessors = 0;
  check(cudaGetDevice(&device), "cudaGetDevice");
  check(cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, device),
        "cudaDeviceGetAttribute");
  by_width(width, [&](auto split, int lanes_of_row) {
    using S = decltype(split);
    const int groups = most_threads / lanes_of_row;
    const unsigned resident = static_cast<unsigned>(multiprocessors * (S::vectors > 1 ? 1 : 2));
    rms_norm_backward_kernel<S>
        <<<std::min(blocks(rows, groups), resident), groups * lanes_of_row, 0, stream>>>(
            gradient, x, weight, out, weight_gradient, rows, static_cast<int>(width), lanes_of_row);
  });
  check_launch("rms_norm_backward");
}

}  // namespace measure
