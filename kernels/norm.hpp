// What the kernels of RMSNorm share: how a row lies on threads, sums over it, and its numbers. For .cu files
// alone.
#pragma once

#include "pieces.hpp"
#include "vectors.hpp"

namespace measure::norm {

/// A row is held by `Lanes` neighbouring threads, or, for 0, by as many warps as its width needs; each has
/// `Vectors` times 8 elements. Rows that are narrower leave some idle.
template <int Lanes, int Vectors>
struct Split {
  static constexpr int lanes = Lanes, vectors = Vectors;
  static constexpr bool one_warp = Lanes > 0;
};

constexpr int most_threads = 1024;  // of any block
constexpr int most_groups = 15;     // of several warps each: a block has 16 barriers, and one is for all
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

__device__ inline void clear(BetweenWarps& parts) {
  float2* const first = &parts[0][0];
  for (int i = static_cast<int>(threadIdx.x); i < static_cast<int>(sizeof(BetweenWarps) / sizeof(float2));
       i += static_cast<int>(blockDim.x))
    first[i] = {};
}

/// The threads of a row meet.
template <class S>
__device__ void meet(const Position<S>& at) {
  asm volatile("bar.sync %0, %1;" ::"r"(1 + at.group), "r"(at.lanes) : "memory");
}

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
    meet(at);
    both = {0, 0};
    for (int i = 0; i < even; i += 2) {
      const float4 two = *reinterpret_cast<const float4*>(of_row + i);
      both.x += two.x + two.z, both.y += two.y + two.w;
    }
    return both;
  }
}

__device__ inline void add_four(float* to, float4 of) {
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

/// How many rows of the matrix, in fp32, add_sums takes of shared memory.
template <class S>
__host__ __device__ constexpr int parts_of(int groups) {
  return S::one_warp ? groups / (lanes / (S::one_warp ? S::lanes : 1)) : groups;
}
/// Adds the sums of all threads of a block to those in memory: its rows' first among each other, in
/// `of_parts`.
template <class S>
__device__ void add_sums(Sums<S>& sums, const Position<S>& at, float4* of_parts, float* to, int width) {
  constexpr int rows_of_warp = S::one_warp ? lanes / S::lanes : 1;
  const int quarters = width / 4, parts = parts_of<S>(at.groups), part = at.group / rows_of_warp;
#pragma unroll
  for (int v = 0; v < S::vectors; ++v) {
    const auto four = [&](int i) {
      return float4{sums[v][i], sums[v][i + 1], sums[v][i + 2], sums[v][i + 3]};
    };
#pragma unroll
    for (int i = 0; i < vector; ++i) {
#pragma unroll
      for (int distance = lanes / rows_of_warp; distance < lanes; distance *= 2)
        sums[v][i] += __shfl_xor_sync(~0u, sums[v][i], distance);
    }
    if (at.group % rows_of_warp != 0 || at.column(v) >= width) continue;
    for (int i = 0; i < vector; i += 4) {
      if (parts == 1)
        add_four(to + at.column(v) + i, four(i));
      else
        of_parts[part * quarters + (at.column(v) + i) / 4] = four(i);
    }
  }
  if (parts == 1) return;
  __syncthreads();
  for (int q = static_cast<int>(threadIdx.x); q < quarters; q += static_cast<int>(blockDim.x)) {
    float4 sum{};
    for (int p = 0; p < parts; ++p) {
      const float4 of_part = of_parts[p * quarters + q];
      sum.x += of_part.x, sum.y += of_part.y, sum.z += of_part.z, sum.w += of_part.w;
    }
    add_four(to + 4 * q, sum);
  }
}

/// The gradient of eight elements, and what they add to the weight's.
__device__ inline Words gradient_of(const Words& x, const Words& slope, const Words& weight, float scale,
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

/// What the squares of a thread's elements add up to.
template <class S>
__device__ float squares_of(const Words (&held)[S::vectors]) {
  float squares = 0;
#pragma unroll
  for (int v = 0; v < S::vectors; ++v)
    for (const unsigned two : held[v].two)
      squares += lower(two) * lower(two), squares += upper(two) * upper(two);
  return squares;
}

/// Eight elements, normalized.
__device__ inline Words normalized(const Words& x, const Words& weight, float scale) {
  Words result;
#pragma unroll
  for (int i = 0; i < vector / 2; ++i)
    result.two[i] = packed(lower(x.two[i]) * scale * lower(weight.two[i]),
                           upper(x.two[i]) * scale * upper(weight.two[i]));
  return result;
}

/// The squares of a thread's elements, and their products with what the weighted gradient has there.
template <class S>
__device__ float2 found_in(const Words (&held)[S::vectors], const Words (&slope)[S::vectors],
                           const Words (&weights)[S::vectors]) {
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
  return found;
}

/// Whether the copy engine serves such rows, and is quicker than threads that read for themselves.
bool is_wide(Int width);
bool is_wide_backward(Int width);
/// As rms_norm and rms_norm_backward, for such rows.
void wide(const Half* x, const Half* weight, Half* out, Int rows, Int width, cudaStream_t stream);
void wide_backward(const Half* gradient, const Half* x, const Half* weight, Half* out, float* weight_gradient,
                   Int rows, Int width, cudaStream_t stream);

/// Multiprocessors of the current device.
int multiprocessors();
/// How many blocks, of so many rows at a time, go through `rows`; `most` are there at once. Where each goes
/// on for many rounds they are so few that the last round is as full as the others.
unsigned staying_blocks(Int rows, int groups, int most);

}  // namespace measure::norm
