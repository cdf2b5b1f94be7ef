// RMSNorm and its gradients.
#include <algorithm>
#include <stdexcept>

#include "norm.hpp"

namespace measure {
namespace norm {
namespace {

constexpr int forward_threads = 512;

template <class S>
__global__ void __launch_bounds__(forward_threads)
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
  constexpr int neighbours = S::one_warp ? S::lanes : lanes;
  float squares = sum_over_lanes<neighbours>(squares_of<S>(held));
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
    if (mine[v]) store_once(out + row * width + at.column(v), normalized(held[v], weights[v], scale));
  }
}

/// dx = (w dy - x (x . w dy) / (width rms^2)) / rms. Blocks stay and go through rows, the next one's elements
/// on their way to registers, with the weight's gradient of their columns in registers, and add it at the
/// end. Neighbouring rows are those of different blocks: the last round is all blocks'.
template <class S, class Blocks>
__global__ void __launch_bounds__(Blocks::threads, Blocks::each)
    rms_norm_backward_kernel(const Half* __restrict__ gradient, const Half* __restrict__ x,
                             const Half* __restrict__ weight, Half* __restrict__ out,
                             float* __restrict__ weight_gradient, Int rows, int width, int lanes_of_row) {
  const Position<S> at(lanes_of_row);
  __shared__ alignas(16) BetweenWarps parts;
  if constexpr (!S::one_warp) clear(parts);
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
  if constexpr (!S::one_warp) __syncthreads();
  const float share = 1 / static_cast<float>(width);
  Sums<S> sums = {};
  // As often in every group, whether or not it has a row in the last round.
  for (Int leading = blockIdx.x, turn = 0; leading < rows; leading += step, row += step, turn ^= 1) {
    Words held[S::vectors], slope[S::vectors];
#pragma unroll
    for (int v = 0; v < S::vectors; ++v) held[v] = next_x[v], slope[v] = next_slope[v];
    read(row + step);
    const float2 found =
        sums_over_row<S>(found_in<S>(held, slope, weights), at, parts, static_cast<int>(turn));
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
  extern __shared__ float4 of_parts[];
  add_sums<S>(sums, at, of_parts, weight_gradient, width);
}

/// Whole warps for a row whose threads have so many vectors each.
int whole_warps(Int width, Int vectors) {
  return static_cast<int>(blocks(width, vectors * vector * lanes)) * lanes;
}

/// Calls `run` with the split of a row of `width` elements and the threads that hold it.
template <class Run>
void by_width(Int width, Run&& run) {
  if (width <= 128) return run(Split<16, 1>{}, 16);
  if (width <= 256) return run(Split<32, 1>{}, 32);
  if (width <= 512) return run(Split<32, 2>{}, 32);
  if (width <= 8192) return run(Split<0, 2>{}, whole_warps(width, 2));
  if (width <= 16384) return run(Split<0, 4>{}, whole_warps(width, 4));
  throw std::logic_error("rows of at most 16384 elements");
}

/// Blocks of the backward pass: their threads, and how many a multiprocessor has.
template <int Threads, int Each>
struct Staying {
  static constexpr int threads = Threads, each = Each;
};

/// The same for the backward pass, and with what blocks. Many rows of a middling width gain from more warps.
template <class Run>
void by_shape(Int rows, Int width, Run&& run) {
  if (width > 512 && width <= 2048 && rows >= 4096)
    return run(Split<0, 1>{}, whole_warps(width, 1), Staying<1024, 1>{});
  by_width(width, [&](auto split, int lanes_of_row) {
    run(split, lanes_of_row, Staying < 512, decltype(split)::vectors == 1 ? 2 : 1 > {});
  });
}

}  // namespace

int multiprocessors() {
  int device = 0, count = 0;
  check(cudaGetDevice(&device), "cudaGetDevice");
  check(cudaDeviceGetAttribute(&count, cudaDevAttrMultiProcessorCount, device), "cudaDeviceGetAttribute");
  return count;
}

unsigned staying_blocks(Int rows, int groups, int most) {
  const Int all = blocks(rows, groups), rounds = (all + most - 1) / most;
  constexpr Int many = 8;
  return static_cast<unsigned>(rounds < many ? std::min<Int>(all, most) : (all + rounds - 1) / rounds);
}

}  // namespace norm

void rms_norm(const Half* x, const Half* weight, Half* out, Int rows, Int width, cudaStream_t stream) {
  using namespace norm;
  if (is_wide(width)) return wide(x, weight, out, rows, width, stream);
  by_width(width, [&](auto split, int lanes_of_row) {
    const int groups = std::max(1, 256 / lanes_of_row);
    rms_norm_kernel<decltype(split)><<<blocks(rows, groups), groups * lanes_of_row, 0, stream>>>(
        x, weight, out, rows, static_cast<int>(width), lanes_of_row);
  });
  check_launch("rms_norm");
}

void rms_norm_backward(const Half* gradient, const Half* x, const Half* weight, Half* out,
                       float* weight_gradient, Int rows, Int width, cudaStream_t stream) {
  using namespace norm;
  if (is_wide_backward(width))
    return wide_backward(gradient, x, weight, out, weight_gradient, rows, width, stream);
  by_shape(rows, width, [&](auto split, int lanes_of_row, auto staying) {
    using S = decltype(split);
    using Blocks = decltype(staying);
    const int groups = std::min(Blocks::threads / lanes_of_row, S::one_warp ? Blocks::threads : most_groups);
    const int shared = static_cast<int>(parts_of<S>(groups) * width * 4);
    const auto kernel = rms_norm_backward_kernel<S, Blocks>;
    check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, shared),
          "cudaFuncSetAttribute");
    kernel<<<staying_blocks(rows, groups, Blocks::each * multiprocessors()), groups * lanes_of_row, shared,
             stream>>>(gradient, x, weight, out, weight_gradient, rows, static_cast<int>(width),
                       lanes_of_row);
  });
  check_launch("rms_norm_backward");
}

}  // namespace measure
