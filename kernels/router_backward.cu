// The gradient of the router's logits.
#include "router.hpp"

namespace measure {
namespace {

/// As Split, for the backward pass.
template <int Lanes, int Own, int Kept>
struct BackwardSplit {
  static constexpr int lanes_of_token = Lanes, own = Own, kept = Kept;
  static constexpr int threads = Own > 8 ? 64 : 256;  ///< of a block
};

/// dlogit = p (dp - sum of p dp): dp is not zero for the chosen experts alone, whose p are the weights. All
/// experts are put down as if it were zero, then the chosen ones again: in shared memory, for a second write
/// of two bytes would take a whole transaction.
template <class S>
__global__ void __launch_bounds__(S::threads)
    router_backward_kernel(const float* __restrict__ probabilities, const float* __restrict__ weights,
                           const int* __restrict__ choices, const float* __restrict__ gradients,
                           Half* __restrict__ out, int tokens, int experts, int top_k) {
  constexpr int width = S::lanes_of_token, chunks = S::own / chunk;
  const Place<S> place(tokens, experts);
  const int lane = place.lane, mine = place.token < tokens ? choices_of<S>(lane, top_k) : 0;
  const int at = place.token * top_k + lane * S::kept;
  const auto choice = read_choices<int, S::kept>(choices + at, mine, top_k);
  const auto weight = read_choices<float, S::kept>(weights + at, mine, top_k);
  const auto slope = read_choices<float, S::kept>(gradients + at, mine, top_k);
  const float* from = probabilities + place.first;
  float4 p[chunks];
#pragma unroll
  for (int c = 0; c < chunks; ++c)
    if (place.has(c)) p[c] = __ldcs(reinterpret_cast<const float4*>(from + chunk_step<S>(c)));
  float dot = 0;
#pragma unroll
  for (int i = 0; i < S::kept; ++i) dot += weight.of[i] * slope.of[i];
  dot = -sum_over_lanes<width>(dot);
  __shared__ uint2 rows[S::threads * chunks];
  uint2* const row = rows + static_cast<int>(threadIdx.x) / width * width * chunks;
#pragma unroll
  for (int c = 0; c < chunks; ++c)
    row[c * width + lane] = {packed(p[c].x * dot, p[c].y * dot), packed(p[c].z * dot, p[c].w * dot)};
  __syncwarp();
#pragma unroll
  for (int i = 0; i < S::kept; ++i)
    if (i < mine)
      reinterpret_cast<Half*>(row)[choice.of[i]] = __float2bfloat16(weight.of[i] * (slope.of[i] + dot));
  __syncwarp();
#pragma unroll
  for (int c = 0; c < chunks; ++c)
    if (place.has(c))
      __stcs(reinterpret_cast<uint2*>(out + place.first + chunk_step<S>(c)), row[c * width + lane]);
}

template <int Lanes, int Own, int Kept = 1, class Run>
void by_kept(Int top_k, Run&& run) {
  if constexpr (Lanes * Kept < most_choices)
    if (top_k > Lanes * Kept) return by_kept<Lanes, Own, 2 * Kept>(top_k, run);
  run(BackwardSplit<Lanes, Own, Kept>{});
}

template <class Run>
void by_lanes(Int experts, Int top_k, Run&& run) {
  if (experts <= 8) return by_kept<1, 8>(top_k, run);
  if (experts <= 16) return by_kept<2, 8>(top_k, run);
  if (experts <= 32) return by_kept<8, 4>(top_k, run);
  if (experts <= 64) return by_kept<8, 8>(top_k, run);
  if (experts <= 128) return by_kept<16, 8>(top_k, run);
  if (experts <= 160) return by_kept<8, 20>(top_k, run);
  if (experts <= 192) return by_kept<16, 12>(top_k, run);
  if (experts <= 256) return by_kept<32, 8>(top_k, run);
  if (experts <= 384) return by_kept<16, 24>(top_k, run);
  by_kept<16, 32>(top_k, run);
}

}  // namespace

void router_backward(const float* probabilities, const float* weights, const int* choices,
                     const float* gradients, Half* out, Int tokens, Int experts, Int top_k,
                     cudaStream_t stream) {
  check_routing(tokens, experts, top_k);
  by_lanes(experts, top_k, [&](auto split) {
    using S = decltype(split);
    router_backward_kernel<S><<<blocks(tokens * S::lanes_of_token, S::threads), S::threads, 0, stream>>>(
        probabilities, weights, choices, gradients, out, static_cast<int>(tokens), static_cast<int>(experts),
        static_cast<int>(top_k));
  });
  check_launch("router_backward");
}

}  // namespace measure
