// The router: softmax over experts and the largest few of them.
#include "router.hpp"

namespace measure {
namespace {

constexpr int threads = 128;  // of a block

/// `Lanes` neighbouring lanes share a token. Each has `Own` experts: a chunk of every `Lanes`, so that what
/// they read and write together is one piece. As many as `Most` experts are chosen.
template <int Lanes, int Own, int Most>
struct Split {
  static constexpr int lanes_of_token = Lanes, own = Own, most = Most;
  static constexpr int kept = most > Lanes ? most / Lanes : 1;  ///< neighbouring choices of one lane
};

/// Two logits, as they lie in memory, in the order of signed numbers: all but the sign of a negative one
/// turns.
__device__ unsigned ordered(unsigned two) {
  unsigned negative = 0;
  asm("prmt.b32 %0, %1, 0, 0xbb99;" : "=r"(negative) : "r"(two));
  return two ^ (negative & 0x7fff7fffu);
}
/// Which expert is below in a key: the lower one is first among equals.
__device__ unsigned rank_of(int expert) { return static_cast<unsigned>(0xffff - expert); }

/// Keys of a logit and its expert, the logit above. From one word of two logits and one of two ranks.
__device__ int lower_key(unsigned logits, unsigned ranks) {
  return static_cast<int>(__byte_perm(logits, ranks, 0x1054));
}
__device__ int upper_key(unsigned logits, unsigned ranks) {
  return static_cast<int>(__byte_perm(logits, ranks, 0x3276));
}
__device__ float logit_of(int key) {
  return __int_as_float((key ^ (key >> 31 & 0x7fff0000)) & static_cast<int>(0xffff0000u));
}
__device__ int expert_of(int key) { return 0xffff - (key & 0xffff); }
constexpr int below_all = static_cast<int>(0x80000000u);

__device__ float exp2f_fast(float value) {
  asm("ex2.approx.ftz.f32 %0, %0;" : "+f"(value));
  return value;
}

__device__ void descend(int& a, int& b) {
  const int high = max(a, b), low = min(a, b);
  a = high, b = low;
}

/// Descending, by a network of comparisons (Batcher's odd-even merge sort).
template <int Count>
__device__ void sort(int* keys) {
#pragma unroll
  for (int size = 1; size < Count; size *= 2) {
#pragma unroll
    for (int step = size; step > 0; step /= 2) {
#pragma unroll
      for (int a = 0; a < Count; ++a) {
        const int b = a + step;
        if (a < step % size || (a - step % size) / step % 2 != 0) continue;
        if (b < Count && a / (2 * size) == b / (2 * size)) descend(keys[a], keys[b]);
      }
    }
  }
}

/// The largest `Count` of two descending lists, descending, in the first: the larger of each with its
/// counterpart from the other's end rise and fall, and Batcher's bitonic merge orders such.
template <int Count>
__device__ void keep_largest(int* keys, const int* others) {
#pragma unroll
  for (int i = 0; i < Count; ++i) keys[i] = max(keys[i], others[Count - 1 - i]);
#pragma unroll
  for (int step = Count / 2; step > 0; step /= 2) {
#pragma unroll
    for (int i = 0; i < Count; ++i)
      if (i % (2 * step) < step) descend(keys[i], keys[i + step]);
  }
}

/// The logits of a lane's experts, two a word; minus infinity beyond the last expert.
template <class S>
__device__ void read_logits(unsigned (&words)[S::own / 2], const Half* from, int lane, int experts) {
#pragma unroll
  for (int c = 0; c < S::own / chunk; ++c) {
    const int first = first_of<S>(c, lane);
    if (first >= experts) continue;
    const uint2 raw = __ldcs(reinterpret_cast<const uint2*>(from + first));
    words[2 * c] = raw.x, words[2 * c + 1] = raw.y;
  }
}

template <class S>
__device__ void write_floats(float* to, const float (&values)[S::own], int lane, int experts) {
#pragma unroll
  for (int c = 0; c < S::own / chunk; ++c) {
    const int first = first_of<S>(c, lane);
    const float* four = values + c * chunk;
    if (first < experts)
      __stcs(reinterpret_cast<float4*>(to + first), float4{four[0], four[1], four[2], four[3]});
  }
}

/// The largest logit of a token.
template <class S>
__device__ float largest(const unsigned (&words)[S::own / 2]) {
  const auto of = [](unsigned two) { return *reinterpret_cast<const __nv_bfloat162*>(&two); };
  __nv_bfloat162 most = of(words[0]);
#pragma unroll
  for (int i = 1; i < S::own / 2; ++i) most = __hmax2(most, of(words[i]));
#pragma unroll
  for (int distance = S::lanes_of_token / 2; distance > 0; distance /= 2)
    most = __hmax2(most, __shfl_xor_sync(~0u, most, distance));
  return fmaxf(__low2float(most), __high2float(most));
}

/// The largest keys of a token, descending, the same in all of its lanes.
template <class S>
__device__ void choose(int* keys, const unsigned (&words)[S::own / 2], int lane) {
  constexpr int width = S::lanes_of_token, most = S::most;
  constexpr int lists = (S::own + most - 1) / most;
  int all[lists * most];
  const unsigned ranks = rank_of(lane * chunk) | rank_of(lane * chunk + 1) << 16;
#pragma unroll
  for (int i = 0; i < lists * most; i += 2) {
    if (i >= S::own) {
      all[i] = all[i + 1] = below_all;
      continue;
    }
    const unsigned expert = static_cast<unsigned>(i / chunk * width * chunk + i % chunk);
    const unsigned two = ordered(words[i / 2]), of_two = ranks - expert * 0x00010001u;
    all[i] = lower_key(two, of_two), all[i + 1] = upper_key(two, of_two);
  }
#pragma unroll
  for (int i = 0; i < lists; ++i) sort<most>(all + i * most);
#pragma unroll
  for (int apart = 1; apart < lists; apart *= 2) {
#pragma unroll
    for (int i = 0; i + apart < lists; i += 2 * apart)
      keep_largest<most>(all + i * most, all + (i + apart) * most);
  }
#pragma unroll
  for (int distance = 1; distance < width; distance *= 2) {
    int others[most];
#pragma unroll
    for (int i = 0; i < most; ++i) others[i] = __shfl_xor_sync(~0u, all[i], distance);
    keep_largest<most>(all, others);
  }
#pragma unroll
  for (int i = 0; i < most; ++i) keys[i] = all[i];
}

template <class S>
__global__ void __launch_bounds__(threads)
    router_kernel(const Half* __restrict__ logits, float* __restrict__ probabilities,
                  float* __restrict__ weights, int* __restrict__ choices, Int tokens, int experts,
                  int top_k) {
  constexpr int width = S::lanes_of_token, own = S::own;
  const Int token = (blockIdx.x * static_cast<Int>(blockDim.x) + threadIdx.x) / width;
  const int lane = threadIdx.x % width;
  const bool here = token < tokens;  // all lanes stay for the shuffles
  unsigned words[own / 2];
#pragma unroll
  for (unsigned& word : words) word = 0xff80ff80u;
  if (here) read_logits<S>(words, logits + token * experts, lane, experts);
  const float most = largest<S>(words);
  constexpr float log2_e = 1.44269504f;
  const float shift = most * log2_e;
  float held[own], total = 0;
#pragma unroll
  for (int i = 0; i < own; ++i) {
    const unsigned word = words[i / 2], bits = i % 2 == 0 ? word << 16 : word & 0xffff0000u;
    total += held[i] = exp2f_fast(__uint_as_float(bits) * log2_e - shift);
  }
  const float share = __fdividef(1, sum_over_lanes<width>(total));
#pragma unroll
  for (int i = 0; i < own; ++i) held[i] *= share;
  if (here) write_floats<S>(probabilities + token * experts, held, lane, experts);
  int chosen[S::most];
  choose<S>(chosen, words, lane);
  OfChoices<float, S::kept> weight;
  OfChoices<int, S::kept> choice;
#pragma unroll
  for (int i = 0; i < S::kept; ++i) {
    int mine = chosen[i];
#pragma unroll
    for (int j = 1; j * S::kept + i < S::most; ++j) mine = lane == j ? chosen[j * S::kept + i] : mine;
    weight.of[i] = exp2f_fast(logit_of(mine) * log2_e - shift) * share;
    choice.of[i] = expert_of(mine);
  }
  const int mine = here ? choices_of<S>(lane, top_k) : 0;
  const Int at = token * top_k + lane * S::kept;
  write_choices(weights + at, weight, mine, top_k);
  write_choices(choices + at, choice, mine, top_k);
}

/// Calls `run` with the split of a token that serves so many choices.
template <int Lanes, int Own, int Most = 2, class Run>
void by_choices(Int top_k, Run&& run) {
  if constexpr (Most < most_choices)
    if (top_k > Most) return by_choices<Lanes, Own, 2 * Most>(top_k, run);
  run(Split<Lanes, Own, Most>{});
}

template <class Run>
void by_experts(Int experts, Int top_k, Run&& run) {
  check_routing(experts, top_k);
  if (experts <= 8) return by_choices<1, 8>(top_k, run);
  if (experts <= 16) return by_choices<2, 8>(top_k, run);
  if (experts <= 32) return by_choices<4, 8>(top_k, run);
  if (experts <= 48) return by_choices<4, 12>(top_k, run);
  if (experts <= 64) return by_choices<4, 16>(top_k, run);
  if (experts <= 96) return by_choices<4, 24>(top_k, run);
  if (experts <= 128) return by_choices<4, 32>(top_k, run);
  if (experts <= 160) return by_choices<8, 20>(top_k, run);
  if (experts <= 192) return by_choices<8, 24>(top_k, run);
  if (experts <= 256) return by_choices<8, 32>(top_k, run);
  if (experts <= 384) return by_choices<16, 24>(top_k, run);
  by_choices<16, 32>(top_k, run);
}

}  // namespace

void router(const Half* logits, float* probabilities, float* weights, int* choices, Int tokens, Int experts,
            Int top_k, cudaStream_t stream) {
  by_experts(experts, top_k, [&](auto split) {
    using S = decltype(split);
    router_kernel<S><<<blocks(tokens * S::lanes_of_token, threads), threads, 0, stream>>>(
        logits, probabilities, weights, choices, tokens, static_cast<int>(experts), static_cast<int>(top_k));
  });
  check_launch("router");
}

}  // namespace measure
