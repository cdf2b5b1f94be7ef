// RMSNorm of wide rows, which the copy engine brings to shared memory some rows ahead. Blocks stay and go
// through rows; threads read a row from there, and its place is filled again once all warps have.
#include <algorithm>
#include <type_traits>

#include "hopper.hpp"
#include "norm.hpp"

namespace measure::norm {
namespace {

// Code for devices before Hopper is empty: a program that is built for Hopper is taken to run there.
using Wide = Split<0, 4>;          // 32 elements a thread, and two blocks a multiprocessor
using WideBackward = Split<0, 3>;  // 24, and one block that works on two rows at once
constexpr int threads = 256, backward_threads = 640;
constexpr int stages = 4;
constexpr int groups_at_most = 8;

#if __CUDA_ARCH__ >= 900
/// Rows of `Tensors` matrices of one shape on their way. Each group of threads has its own, and goes its own
/// pace: while one waits for a row or for its sums, others use the multiprocessor. Neighbouring rows are
/// those of different blocks: the last round is all blocks'.
template <class S, int Tensors, int Stages>
class Arrivals {
 public:
  struct Barriers {
    std::uint64_t full[groups_at_most][Stages], empty[groups_at_most][Stages];
  };
  __device__ Arrivals(const Half* const (&from)[Tensors], Int rows, int width, const Position<S>& at,
                      char* ring, Barriers& barriers)
      : rows_(rows),
        width_(width),
        at_(at),
        ring_(ring + static_cast<std::size_t>(at.group * Stages * Tensors) * (width * 2)),
        full_(barriers.full[at.group]),
        empty_(barriers.empty[at.group]) {
    for (int t = 0; t < Tensors; ++t) from_[t] = from[t];
    if (at.lane != 0) return;
    for (int s = 0; s < Stages; ++s) {
      hopper::start_barrier(&full_[s], 1);
      hopper::start_barrier(&empty_[s], at.lanes / lanes);
    }
    hopper::publish_barriers();
    hopper::show_copy_engine();
    for (int n = 0; n < Stages - 1; ++n) send(n);
  }
  /// Whether there is an n-th round: as often in every group, whether or not it has a row in the last one.
  __device__ bool goes_on(int n) const {
    return static_cast<Int>(n * at_.groups) * gridDim.x + blockIdx.x < rows_;
  }
  /// The n-th row of this group; beyond the last row there is none.
  __device__ Int row(int n) const {
    return static_cast<Int>(n * at_.groups + at_.group) * gridDim.x + blockIdx.x;
  }
  /// This thread's part of the n-th row, or zeros. Then sends for one more row, in the place of the one
  /// before, which other warps may still read: the sender waits for them.
  __device__ void take(int n, Words (&to)[Tensors][S::vectors]) {
    const int stage = n % Stages;
    const bool here = row(n) < rows_;
    if (here) hopper::wait(&full_[stage], n / Stages & 1);
#pragma unroll
    for (int t = 0; t < Tensors; ++t) {
#pragma unroll
      for (int v = 0; v < S::vectors; ++v) {
        to[t][v] = {};
        if (here && at_.column(v) < width_)
          to[t][v] = *reinterpret_cast<const Words*>(place(stage, t) + at_.column(v) * 2);
      }
    }
    __syncwarp();
    if (threadIdx.x % lanes == 0) hopper::arrive(&empty_[stage]);
    if (at_.lane == 0) send(n + Stages - 1);
    __syncwarp();
  }

 private:
  __device__ char* place(int stage, int tensor) const {
    return ring_ + static_cast<std::size_t>(stage * Tensors + tensor) * (width_ * 2);
  }
  __device__ void send(int n) const {
    if (row(n) >= rows_) return;
    const int stage = n % Stages;
    if (n >= Stages) hopper::wait(&empty_[stage], n / Stages - 1 & 1);
    const auto bytes = static_cast<std::uint32_t>(width_ * 2);
    hopper::arrive_expecting(&full_[stage], Tensors * bytes);
    for (int t = 0; t < Tensors; ++t)
      hopper::load_bytes(place(stage, t), from_[t] + row(n) * width_, bytes, &full_[stage]);
  }

  const Half* from_[Tensors];
  Int rows_;
  int width_;
  const Position<S>& at_;
  char* ring_;
  std::uint64_t *full_, *empty_;
};

template <class S>
__device__ void begin(Words (&weights)[S::vectors], BetweenWarps& parts, const Half* weight, int width,
                      const Position<S>& at) {
  clear(parts);
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
  for (int n = 0; from.goes_on(n); ++n) {
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

template <int Stages>
__global__ void __launch_bounds__(backward_threads, 1)
    wide_backward_kernel(const Half* __restrict__ gradient, const Half* __restrict__ x,
                         const Half* __restrict__ weight, Half* __restrict__ out,
                         float* __restrict__ weight_gradient, Int rows, int width, int lanes_of_row) {
#if __CUDA_ARCH__ >= 900
  using S = WideBackward;
  using From = Arrivals<S, 2, Stages>;
  extern __shared__ __align__(128) char ring[];
  __shared__ typename From::Barriers barriers;
  __shared__ __align__(16) BetweenWarps parts;
  const Position<S> at(lanes_of_row);
  From from({x, gradient}, rows, width, at, ring, barriers);
  Words weights[S::vectors];
  begin<S>(weights, parts, weight, width, at);
  const float share = 1 / static_cast<float>(width);
  Sums<S> sums = {};
  for (int n = 0; from.goes_on(n); ++n) {
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
  __syncthreads();  // all groups are through with the ring
  add_sums<S>(sums, at, reinterpret_cast<float4*>(ring), weight_gradient, width);
#endif
}

/// How many threads a row takes, how many rows a block has, and how much of shared memory they need.
template <class S>
struct Launch {
  Launch(Int width, int most, int tensors, int stages_ahead)
      : lanes_of_row(static_cast<int>(blocks(width, S::vectors * vector * lanes)) * lanes),
        groups(std::clamp(most / lanes_of_row, 1, groups_at_most)),
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
constexpr Int widest = 8192, widest_backward = 7680;

}  // namespace

bool is_wide(Int width) { return width > 6144 && width <= widest && has_copy_engine(); }
bool is_wide_backward(Int width) { return width > 4096 && width <= widest_backward && has_copy_engine(); }

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
  const auto run = [&](auto stages_ahead) {
    constexpr int ahead = stages_ahead;
    const Launch<WideBackward> launch(width, backward_threads, 2, ahead);
    check(cudaFuncSetAttribute(wide_backward_kernel<ahead>, cudaFuncAttributeMaxDynamicSharedMemorySize,
                               launch.ring),
          "cudaFuncSetAttribute");
    wide_backward_kernel<ahead><<<staying_blocks(rows, launch.groups, multiprocessors()),
                                  launch.groups * launch.lanes_of_row, launch.ring, stream>>>(
        gradient, x, weight, out, weight_gradient, rows, static_cast<int>(width), launch.lanes_of_row);
  };
  // With more on its way than this the memory is slower: by a tenth with 172 KB a multiprocessor.
  constexpr int most_bytes = 144 << 10;
  const bool three = Launch<WideBackward>(width, backward_threads, 2, 3).ring <= most_bytes;
  three ? run(std::integral_constant<int, 3>{}) : run(std::integral_constant<int, 2>{});
  check_launch("rms_norm_backward");
}

}  // namespace measure::norm
