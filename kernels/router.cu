// The router: softmax over experts, the largest few of them, and the gradient of the logits.
#include <algorithm>
#include <stdexcept>

#include "pieces.hpp"
#include "vectors.hpp"

namespace measure {
namespace {

/// `Lanes` neighbouring lanes share a token, each with `Own` neighbouring experts; a warp has 32 / Lanes
/// tokens. As many as `Most` experts are chosen.
template <int Lanes, int Own, int Most>
struct Split {
  static constexpr int lanes_of_token = Lanes, own = Own, most = Most;
  static constexpr int kept = most > Lanes ? most / Lanes : 1;  ///< choices that one lane remembers
};

/// Two logits, as they lie in memory, in an order of their own: larger logits are larger numbers. A change of
/// sign turns all bits of a negative one, the sign alone of others.
__device__ unsigned ordered(unsigned two) {
  const unsigned negative = two >> 15 & 0x00010001u;
  return two ^ (negative * 0xffffu | 0x80008000u);
}
/// Which expert is below in a key: the lower one is first among equals.
__device__ unsigned rank_of(int expert) { return static_cast<unsigned>(0xffff - expert); }

/// Keys of a logit and its expert, the logit above. From one word of two logits and one of two ranks.
__device__ unsigned lower_key(unsigned logits, unsigned ranks) { return __byte_perm(logits, ranks, 0x1054); }
__device__ unsigned upper_key(unsigned logits, unsigned ranks) { return __byte_perm(logits, ranks, 0x3276); }
__device__ float logit_of(unsigned key) {
  const unsigned bits = (key & 0x80000000u) != 0 ? key ^ 0x80000000u : ~key;
  return __uint_as_float(bits & 0xffff0000u);
}
__device__ int expert_of(unsigned key) { return static_cast<int>(0xffffu - (key & 0xffffu)); }

__device__ float exp2f_fast(float value) {
  asm("ex2.approx.ftz.f32 %0, %0;" : "+f"(value));
  return value;
}

template <int Lanes>
__device__ unsigned largest(unsigned value) {
  if constexpr (Lanes == lanes) {
    return __reduce_max_sync(~0u, value);
  } else {
#pragma unroll
    for (int distance = Lanes / 2; distance > 0; distance /= 2)
      value = max(value, __shfl_xor_sync(~0u, value, distance));
    return value;
  }
}

/// Descending, by a network of comparisons (Batcher's odd-even merge sort).
template <int Count>
__device__ void sort(unsigned (&keys)[Count]) {
#pragma unroll
  for (int size = 1; size < Count; size *= 2) {
#pragma unroll
    for (int step = size; step > 0; step /= 2) {
#pragma unroll
      for (int start = step % size; start + step < Count; start += 2 * step) {
#pragma unroll
        for (int i = 0; i < step; ++i) {
          const int a = start + i, b = a + step;
          if (b >= Count || a / (2 * size) != b / (2 * size)) continue;
          const unsigned high = max(keys[a], keys[b]), low = min(keys[a], keys[b]);
          keys[a] = high, keys[b] = low;
        }
      }
    }
  }
}

/// The logits of a lane's experts, two a word; minus infinity beyond the last expert.
template <int Own>
__device__ void read_logits(unsigned (&words)[Own / 2], const Half* from, int first, int experts) {
#pragma unroll
  for (int v = 0; v < Own; v += vector) {
    if (experts % vector == 0) {
      if (first + v >= experts) continue;
      const uint4 raw = __ldcs(reinterpret_cast<const uint4*>(from + first + v));
      words[v / 2] = raw.x, words[v / 2 + 1] = raw.y, words[v / 2 + 2] = raw.z, words[v / 2 + 3] = raw.w;
    } else {
#pragma unroll
      for (int i = 0; i < vector; ++i) {
        if (first + v + i >= experts) continue;
        const unsigned logit = __bfloat16_as_ushort(from[first + v + i]);
        unsigned& word = words[(v + i) / 2];
        word = i % 2 == 0 ? (word & 0xffff0000u) | logit : (word & 0xffffu) | logit << 16;
      }
    }
  }
}

template <int Own>
__device__ void write_floats(float* to, const float (&values)[Own], int first, int experts) {
#pragma unroll
  for (int v = 0; v < Own; v += 4) {
    if (experts % 4 == 0) {
      if (first + v < experts)
        __stcs(reinterpret_cast<float4*>(to + first + v),
               float4{values[v], values[v + 1], values[v + 2], values[v + 3]});
    } else {
#pragma unroll
      for (int i = v; i < v + 4; ++i)
        if (first + i < experts) to[first + i] = values[i];
    }
  }
}

template <class S>
__global__ void router_kernel(const Half* __restrict__ logits, float* __restrict__ probabilities,
                              float* __restrict__ weights, int* __restrict__ choices, Int tokens, int experts,
                              int top_k) {
  constexpr int width = S::lanes_of_token, own = S::own;
  const Int token = (blockIdx.x * static_cast<Int>(blockDim.x) + threadIdx.x) / width;
  const int lane = threadIdx.x % width, first = lane * own;
  const bool here = token < tokens;  // all lanes stay for the shuffles
  unsigned words[own / 2], keys[own];
#pragma unroll
  for (unsigned& word : words) word = 0xff80ff80u;
  if (here) read_logits<own>(words, logits + token * experts, first, experts);
  const unsigned ranks = rank_of(first) | rank_of(first + 1) << 16;
#pragma unroll
  for (int i = 0; i < own; i += 2) {
    const unsigned two = ordered(words[i / 2]), of_two = ranks - static_cast<unsigned>(i) * 0x00010001u;
    keys[i] = lower_key(two, of_two), keys[i + 1] = upper_key(two, of_two);
  }
  sort(keys);
  unsigned top = largest<width>(keys[0]);
  const float most = logit_of(top);
  float held[own], total = 0;
  constexpr float log2_e = 1.44269504f;
  const float shift = most * log2_e;
#pragma unroll
  for (int i = 0; i < own; ++i) {
    const unsigned word = words[i / 2], bits = i % 2 == 0 ? word << 16 : word & 0xffff0000u;
    total += held[i] = exp2f_fast(__uint_as_float(bits) * log2_e - shift);
  }
  const float share = __fdividef(1, sum_over_lanes<width>(total));
#pragma unroll
  for (int i = 0; i < own; ++i) held[i] *= share;
  if (here) write_floats(probabilities + token * experts, held, first, experts);
  unsigned chosen[S::most];
#pragma unroll
  for (int j = 0; j < S::most; ++j) {
    if (j > 0) top = largest<width>(keys[0]);
    chosen[j] = top;
    const bool taken = keys[0] == top;
    // Of a lane's keys no more can be chosen than there are choices left.
#pragma unroll
    for (int i = 0; i < own && i < S::most - 1 - j; ++i)
      keys[i] = taken ? (i + 1 < own ? keys[i + 1] : 0) : keys[i];
  }
  unsigned mine[S::kept];  // of choice j, the lane j % width
#pragma unroll
  for (int i = 0; i < S::kept; ++i) {
    mine[i] = chosen[i * width];
#pragma unroll
    for (int j = 1; j < width && i * width + j < S::most; ++j)
      mine[i] = lane == j ? chosen[i * width + j] : mine[i];
  }
#pragma unroll
  for (int i = 0; i < S::kept; ++i) {
    const int j = i * width + lane;
    if (!here || j >= top_k) continue;
    weights[token * top_k + j] = __expf(logit_of(mine[i]) - most) * share;
    choices[token * top_k + j] = expert_of(mine[i]);
  }
}

/// dlogit = p (dp - sum of p dp): dp is not zero for the chosen experts alone. All experts are written as if
/// it were zero, then the chosen ones again.
template <class S>
__global__ void router_backward_kernel(const float* __restrict__ probabilities,
                                       const float* __restrict__ gradients, const int* __restrict__ choices,
                                       Half* __restrict__ out, Int tokens, int experts, int top_k) {
  constexpr int width = S::lanes_of_token, own = S::own;
  const Int token = (blockIdx.x * static_cast<Int>(blockDim.x) + threadIdx.x) / width;
  const int lane = threadIdx.x % width, first = lane * own;
  const bool here = token < tokens;
  const float* from = probabilities + token * experts;
  float p[own], of_choice[S::kept] = {}, slope[S::kept] = {};
  int choice[S::kept] = {};
#pragma unroll
  for (int i = 0; i < S::kept; ++i) {
    const int j = i * width + lane;
    if (!here || j >= top_k) continue;
    choice[i] = choices[token * top_k + j];
    slope[i] = gradients[token * top_k + j];
  }
#pragma unroll
  for (int v = 0; v < own; v += 4) {
    if (experts % 4 == 0) {
      if (here && first + v < experts)
        *reinterpret_cast<float4*>(&p[v]) = *reinterpret_cast<const float4*>(from + first + v);
    } else {
#pragma unroll
      for (int i = v; i < v + 4; ++i) p[i] = here && first + i < experts ? from[first + i] : 0;
    }
  }
  float dot = 0;
#pragma unroll
  for (int i = 0; i < S::kept; ++i) {
    if (here && i * width + lane < top_k) of_choice[i] = from[choice[i]];
    dot += of_choice[i] * slope[i];
  }
  dot = sum_over_lanes<width>(dot);
  Half* to = out + token * experts;
#pragma unroll
  for (int v = 0; v < own; v += vector) {
    Eight result;
#pragma unroll
    for (int i = 0; i < vector; ++i) result.value[i] = __float2bfloat16(-p[v + i] * dot);
    if (experts % vector == 0) {
      if (here && first + v < experts) store(to + first + v, result);
    } else {
#pragma unroll
      for (int i = 0; i < vector; ++i)
        if (here && first + v + i < experts) to[first + v + i] = result.value[i];
    }
  }
  __syncwarp();
#pragma unroll
  for (int i = 0; i < S::kept; ++i)
    if (here && i * width + lane < top_k) to[choice[i]] = __float2bfloat16(of_choice[i] * (slope[i] - dot));
}

/// Calls `run` with the split of a token that serves so many experts and choices.
template <int Lanes, int Own, class Run>
void by_choices(Int top_k, Run&& run) {
  if (top_k <= 2) return run(Split<Lanes, Own, 2>{});
  if (top_k <= 4) return run(Split<Lanes, Own, 4>{});
  if (top_k <= 8) return run(Split<Lanes, Own, 8>{});
  if constexpr (Lanes >= 16)
    if (top_k <= 16) return run(Split<Lanes, Own, 16>{});
  throw std::logic_error("at most 8 choices of up to 64 experts, or 16");
}

template <class Run>
void by_experts(Int experts, Int top_k, Run&& run) {
  if (experts <= 8) return by_choices<1, 8>(top_k, run);
  if (experts <= 16) return by_choices<2, 8>(top_k, run);
  if (experts <= 32) return by_choices<4, 8>(top_k, run);
  if (experts <= 64) return by_choices<8, 8>(top_k, run);
  if (experts <= 128) return by_choices<16, 8>(top_k, run);
  if (experts <= 256) return by_choices<32, 8>(top_k, run);
  if (experts <= 512) return by_choices<32, 16>(top_k, run);
  throw std::logic_error("at most 512 experts");
}

}  // namespace

void router(const Half* logits, float* probabilities, float* weights, int* choices, Int tokens, Int experts,
            Int top_k, cudaStream_t stream) {
  by_experts(experts, top_k, [&](auto split) {
    using S = decltype(split);
    router_kernel<S><<<blocks(tokens * S::lanes_of_token, 128), 128, 0, stream>>>(
        logits, probabilities, weights, choices, tokens, static_cast<int>(experts), static_cast<int>(top_k));
  });
  check_launch("router");
}

void router_backward(const float* probabilities, const float* gradients, const int* choices, Half* out,
                     Int tokens, Int experts, Int top_k, cudaStream_t stream) {
  by_experts(experts, top_k, [&](auto split) {
    using S = decltype(split);
    router_backward_kernel<S><<<blocks(tokens * S::lanes_of_token, 128), 128, 0, stream>>>(
        probabilities, gradients, choices, out, tokens, static_cast<int>(experts), static_cast<int>(top_k));
  });
  check_launch("router_backward");
}

}  // namespace measure
