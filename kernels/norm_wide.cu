// RMSNorm of wide rows, which the copy engine brings to shared memory some rows ahead. Blocks stay and go
// through rows; threads read a row from there, and its place is filled again once all warps have.
#include <algorithm>

#include "hopper.hpp"
#include "norm.hpp"

namespace measure::norm {
namespace {

// Code for devices before Hopper is empty: a program that is built for Hopper is taken to run there.
using Wide = Split<0, 4>;          // 32 elements a thread, and two blocks a multiprocessor
using WideBackward = Split<0, 2>;  // 16, and one block
constexpr int threads = 256, backward_threads = 640;
constexpr int stages = 4, backward_stages = 3;

#if __CUDA_ARCH__ >= 900
/// Chunks of rows of `Tensors` matrices of one shape on their way. A chunk has a row for each group of the
/// block.
template <class S, int Tensors, int Stages>
class Arrivals {
 public:
  struct Barriers {
    std::uint64_t full[Stages], empty[Stages];
  };
  __device__ Arrivals(const Half* const (&from)[Tensors], Int rows, int width, const Position<S>& at,
                      char* ring, Barriers& barriers)
      : rows_(rows), width_(width), at_(at), ring_(ring), barriers_(barriers) {
    for (int t = 0; t < Tensors; ++t) from_[t] = from[t];
    if (threadIdx.x != 0) return;
    for (int s = 0; s < Stages; ++s) {
      hopper::start_barrier(&barriers_.full[s], 1);
      hopper::start_barrier(&barriers_.empty[s], static_cast<int>(blockDim.x) / lanes);
    }
    hopper::publish_barriers();
    hopper::show_copy_engine();
    for (int n = 0; n < Stages - 1; ++n) send(n);
  }
  /// Chunks of this block.
  __device__ int count() const {
    return (chunks() - static_cast<int>(blockIdx.x) - 1) / static_cast<int>(gridDim.x) + 1;
  }
  __device__ Int row(int n) const { return static_cast<Int>(chunk(n)) * at_.groups + at_.group; }
  /// This thread's part of its row of the n-th chunk; beyond the last row zero. Then sends for one more
  /// chunk, in the place of the one before, which other warps may still read: the sender waits for them.
  __device__ void take(int n, Words (&to)[Tensors][S::vectors]) {
    const int stage = n % Stages;
    hopper::wait(&barriers_.full[stage], n / Stages & 1);
    const bool here = row(n) < rows_;
#pragma unroll
    for (int t = 0; t < Tensors; ++t) {
#pragma unroll
      for (int v = 0; v < S::vectors; ++v) {
        to[t][v] = {};
        if (here && at_.column(v) < width_)
          to[t][v] =
              *reinterpret_cast<const Words*>(place(stage, t) + (at_.group * width_ + at_.column(v)) * 2);
      }
    }
    __syncwarp();
    if (threadIdx.x % lanes == 0) hopper::arrive(&barriers_.empty[stage]);
    if (threadIdx.x == 0) send(n + Stages - 1);
    __syncwarp();
  }

 private:
  __device__ int chunks() const { return static_cast<int>((rows_ + at_.groups - 1) / at_.groups); }
  __device__ int chunk(int n) const { return static_cast<int>(blockIdx.x) + n * static_cast<int>(gridDim.x); }
  __device__ char* place(int stage, int tensor) const {
    return ring_ + static_cast<std::size_t>(stage * Tensors + tensor) * (at_.groups * width_ * 2);
  }
  __device__ void send(int n) const {
    if (chunk(n) >= chunks()) return;
    const int stage = n % Stages;
    if (n >= Stages) hopper::wait(&barriers_.empty[stage], n / Stages - 1 & 1);
    const Int first = static_cast<Int>(chunk(n)) * at_.groups;
    const auto bytes =
        static_cast<std::uint32_t>(min(static_cast<Int>(at_.groups), rows_ - first) * width_ * 2);
    hopper::arrive_expecting(&barriers_.full[stage], Tensors * bytes);
    for (int t = 0; t < Tensors; ++t)
      hopper::load_bytes(place(stage, t), from_[t] + first * width_, bytes, &barriers_.full[stage]);
  }

  const Half* from_[Tensors];
  Int rows_;
  int width_;
  const Position<S>& at_;
  char* ring_;
  Barriers& barriers_;
};

template <class S>
__device__ void begin(Words (&weights)[S::vectors], BetweenWarps& parts, const Half* weight, int width,
                      const Position<S>& at) {
  float2* const first = &parts[0][0];
  for (int i = static_cast<int>(threadIdx.x); i < static_cast<int>(sizeof parts / sizeof(float2));
       i += static_cast<int>(blockDim.x))
    first[i] = {};
#pragma unroll
  for (int v = 0; v < S::vectors; ++v)
    weights[v] = at.column(v) < width ? load_words(weight + at.column(v)) : Words{};
  __syncthreads();
}
#endif

__global__ void __launch_bounds__(threads, 2)
    wide_kernel(const Half* __restrict__ x, const Half* __restrict__ weight, Half* __restrict__ out, Int rows,
                int width, int lanes_of_row) {
#if __CUDA_ARCH__ >= 900
  using S = Wide;
  using From = Arrivals<S, 1, stages>;
  extern __shared__ __align__(128) char ring[];
  __shared__ From::Barriers barriers;
  __shared__ __align__(16) BetweenWarps parts;
  const Position<S> at(lanes_of_row);
  From from({x}, rows, width, at, ring, barriers);
  Words weights[S::vectors];
  begin<S>(weights, parts, weight, width, at);
  for (int n = 0; n < from.count(); ++n) {
    Words held[1][S::vectors];
    from.take(n, held);
    const float2 found = sums_over_row<S>({squares_of<S>(held[0]), 0}, at, parts, n & 1);
    const float scale = rsqrtf(found.x / static_cast<float>(width) + epsilon);
#pragma unroll
    for (int v = 0; v < S::vectors; ++v)
      if (from.row(n) < rows && at.column(v) < width)
        store_once(out + from.row(n) * width + at.column(v), normalized(held[0][v], weights[v], scale));
  }
#endif
}

__global__ void __launch_bounds__(backward_threads, 1)
    wide_backward_kernel(const Half* __restrict__ gradient, const Half* __restrict__ x,
                         const Half* __restrict__ weight, Half* __restrict__ out,
                         float* __restrict__ weight_gradient, Int rows, int width, int lanes_of_row) {
#if __CUDA_ARCH__ >= 900
  using S = WideBackward;
  using From = Arrivals<S, 2, backward_stages>;
  extern __shared__ __align__(128) char ring[];
  __shared__ From::Barriers barriers;
  __shared__ __align__(16) BetweenWarps parts;
  const Position<S> at(lanes_of_row);
  From from({x, gradient}, rows, width, at, ring, barriers);
  Words weights[S::vectors];
  begin<S>(weights, parts, weight, width, at);
  const float share = 1 / static_cast<float>(width);
  Sums<S> sums = {};
  for (int n = 0; n < from.count(); ++n) {
    Words both[2][S::vectors];
    from.take(n, both);
    const float2 found = sums_over_row<S>(found_in<S>(both[0], both[1], weights), at, parts, n & 1);
    const float scale = rsqrtf(found.x * share + epsilon);
    const float shift = found.y * scale * scale * scale * share;
#pragma unroll
    for (int v = 0; v < S::vectors; ++v) {
      forget(both[0][v]), forget(both[1][v]), forget(weights[v]);
      if (from.row(n) >= rows || at.column(v) >= width) continue;
      store_once(out + from.row(n) * width + at.column(v),
                 gradient_of(both[0][v], both[1][v], weights[v], scale, shift, sums[v]));
    }
  }
  add_sums<S>(sums, at, weight_gradient, width);
#endif
}

/// How many threads a row takes, how many rows a block has, and how much of shared memory they need.
template <class S>
struct Launch {
  Launch(Int width, int most, int tensors, int stages_ahead)
      : lanes_of_row(static_cast<int>(blocks(width, S::vectors * vector * lanes)) * lanes),
        groups(std::max(1, most / lanes_of_row)),
        ring(static_cast<int>(groups * width * 2 * tensors * stages_ahead)) {}
  int lanes_of_row, groups, ring;
};

/// Built for others too, these kernels are empty there.
bool has_copy_engine() {
#ifdef MEASURE_HOPPER
  int device = 0, major = 0;
  check(cudaGetDevice(&device), "cudaGetDevice");
  check(cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device), "cudaDeviceGetAttribute");
  return major >= 9;
#else
  return false;
#endif
}
constexpr Int widest = 8192;

}  // namespace

bool is_wide(Int width) { return width > 6144 && width <= widest && has_copy_engine(); }
// Few rows are over before reading ahead has gained what its beginning costs.
bool is_wide_backward(Int rows, Int width) {
  return rows >= 2048 && width > 2048 && width <= widest && has_copy_engine();
}

void wide(const Half* x, const Half* weight, Half* out, Int rows, Int width, cudaStream_t stream) {
  const Launch<Wide> launch(width, threads, 1, stages);
  check(cudaFuncSetAttribute(wide_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, launch.ring),
        "cudaFuncSetAttribute");
  wide_kernel<<<std::min(blocks(rows, launch.groups), static_cast<unsigned>(2 * multiprocessors())),
                launch.groups * launch.lanes_of_row, launch.ring, stream>>>(
      x, weight, out, rows, static_cast<int>(width), launch.lanes_of_row);
  check_launch("rms_norm");
}

void wide_backward(const Half* gradient, const Half* x, const Half* weight, Half* out, float* weight_gradient,
                   Int rows, Int width, cudaStream_t stream) {
  const Launch<WideBackward> launch(width, backward_threads, 2, backward_stages);
  check(cudaFuncSetAttribute(wide_backward_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, launch.ring),
        "cudaFuncSetAttribute");
  wide_backward_kernel<<<std::min(blocks(rows, launch.groups), static_cast<unsigned>(multiprocessors())),
                         launch.groups * launch.lanes_of_row, launch.ring, stream>>>(
      gradient, x, weight, out, weight_gradient, rows, static_cast<int>(width), launch.lanes_of_row);
  check_launch("rms_norm_backward");
}

}  // namespace measure::norm
