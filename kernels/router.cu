// The router: softmax over experts and the largest few of them.
#include "router.hpp"

namespace measure {
namespace {

/// Of a block: small ones, so that most of a short call's blocks are there at once.
constexpr int threads = 64;

/// `Lanes` neighbouring lanes share a token. Each has `Own` experts: a chunk of every `Lanes`, so that what
/// they read and write together is one piece. As many as `Most` experts are chosen.
template <int Lanes, int Own, int Most>
struct Split {
  static constexpr int lanes_of_token = Lanes, own = Own, most = Most;
  static constexpr int kept = most > Lanes ? most / Lanes : 1;  ///< neighbouring choices of one lane
  /// Blocks that a multiprocessor has at least, which says how many registers there are: with fewer or more
  /// the compiler sorts before the probabilities are on their way, or does not.
  static constexpr int blocks = own > 24 ? 16 : own == 8 || own == 16 ? 20 : 1;
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

/// Of a number that is neither denormal nor infinite.
__device__ float reciprocal(float value) {
  asm("rcp.approx.ftz.f32 %0, %0;" : "+f"(value));
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

/// Descending, of keys that fall and then rise, or rise and then fall (Batcher's bitonic merge).
template <int Count>
__device__ void order_bitonic(int* keys) {
#pragma unroll
  for (int step = Count / 2; step > 0; step /= 2) {
#pragma unroll
    for (int i = 0; i < Count; ++i)
      if (i % (2 * step) < step) descend(keys[i], keys[i + step]);
  }
}
/// The largest `Count` of two descending lists, descending, in the first: the larger of each with its
/// counterpart from the other's end rise and fall.
template <int Count>
__device__ void keep_largest(int* keys, const int* others) {
#pragma unroll
  for (int i = 0; i < Count; ++i) keys[i] = max(keys[i], others[Count - 1 - i]);
  order_bitonic<Count>(keys);
}

/// Descending lists of `Most` keys are merged over the lanes of a token. At first each lane has a list; then
/// two lanes have one together, a half each, and so on until a lane has one key; lanes beyond that repeat the
/// list. Which part a lane has is the Gray code of its number: so the lane with the mirrored part of the
/// other list, and the one whose part is 2^k further on, are each found by an exclusive or with a constant.
template <int Most>
struct MergedOverLanes {
  /// From a lane to the one with the mirrored part, of lists that lie on `lanes_of_list` lanes each.
  __host__ __device__ static constexpr int mirror(int lanes_of_list) {
    return lanes_of_list + lanes_of_list / 2;
  }
  /// The part that a lane has of a list on `Lanes` lanes, its bits in reverse.
  template <int Lanes>
  __device__ static int reversed_part(int lane) {
    int part = lane % Lanes;
#pragma unroll
    for (int shift = 1; shift < Lanes; shift *= 2) part ^= part >> shift;
    return part;
  }
  template <int Lanes>
  __device__ static int part_of(int lane) {
    const unsigned reversed = static_cast<unsigned>(reversed_part<Lanes>(lane));
    return static_cast<int>(__brev(reversed) >> (31 - bits_of(Lanes)) >> 1);
  }
  __host__ __device__ static constexpr int bits_of(int lanes) {
    return lanes == 1 ? 0 : 1 + bits_of(lanes / 2);
  }

  /// Lists of `Lanes` lanes each become those of twice as many, each lane with half as many keys.
  template <int Lanes>
  __device__ static void halve(int* keys, int lane) {
    constexpr int half = Most / Lanes / 2, bits = bits_of(2 * Lanes);
    const int part = reversed_part<2 * Lanes>(lane);
    int merged[half];
#pragma unroll
    for (int i = 0; i < half; ++i)
      merged[i] = max(keys[half - 1 - i], __shfl_xor_sync(~0u, keys[half + i], mirror(Lanes)));
#pragma unroll
    for (int k = bits - 1; k >= 0; --k) {
      const bool lower = (part >> (bits - 1 - k) & 1) != 0;
#pragma unroll
      for (int i = 0; i < half; ++i) {
        // The lane with the other half of a list has it in reverse.
        const int mine = k > 0 ? i : half - 1 - i;
        keys[i] = __shfl_xor_sync(~0u, merged[mine], mirror(Lanes >> k));
      }
#pragma unroll
      for (int i = 0; i < half; ++i) merged[i] = lower ? min(merged[i], keys[i]) : max(merged[i], keys[i]);
    }
#pragma unroll
    for (int i = 0; i < half; ++i) keys[i] = merged[i];
    order_bitonic<half>(keys);
  }
  /// Lists of one key a lane, on `Lanes` lanes that repeat them, become those of twice as many.
  template <int Lanes>
  __device__ static void repeat(int& key, int lane) {
    constexpr int bits = bits_of(Most);
    const int part = reversed_part<Most>(lane);
    key = max(key, __shfl_xor_sync(~0u, key, Lanes + Most / 2));
#pragma unroll
    for (int k = bits - 1; k >= 0; --k) {
      const int other = __shfl_xor_sync(~0u, key, mirror(Most / 2 >> k));
      key = (part >> (bits - 1 - k) & 1) != 0 ? min(key, other) : max(key, other);
    }
  }
  /// From a list in each of `Lanes` lanes to one that lies on them.
  template <int Lanes, int Done = 1>
  __device__ static void merge(int* keys, int lane) {
    if constexpr (Done < Lanes) {
      if constexpr (Done < Most)
        halve<Done>(keys, lane);
      else
        repeat<Done>(keys[0], lane);
      merge<Lanes, 2 * Done>(keys, lane);
    }
  }
};

/// The logits of a lane's experts, two a word; minus infinity beyond the last expert.
template <class S>
__device__ void read_logits(unsigned (&words)[S::own / 2], const Half* logits, const Place<S>& at) {
  const Half* from = logits + at.first;
#pragma unroll
  for (int c = 0; c < S::own / chunk; ++c) {
    uint2 raw{0xff80ff80u, 0xff80ff80u};
    if (at.has(c)) raw = __ldcs(reinterpret_cast<const uint2*>(from + chunk_step<S>(c)));
    words[2 * c] = raw.x, words[2 * c + 1] = raw.y;
  }
}

/// The numbers of a lane's experts, each times `share`.
template <class S>
__device__ void write_shares(float* probabilities, const float (&values)[S::own], float share,
                             const Place<S>& at) {
  float* to = probabilities + at.first;
#pragma unroll
  for (int c = 0; c < S::own / chunk; ++c) {
    const float* four = values + c * chunk;
    if (at.has(c))
      __stcs(reinterpret_cast<float4*>(to + chunk_step<S>(c)),
             float4{four[0] * share, four[1] * share, four[2] * share, four[3] * share});
  }
}

/// The largest `most` keys of a lane's experts, descending.
template <class S>
__device__ void sort_own(int (&keys)[S::most], const unsigned (&words)[S::own / 2], int lane) {
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
  for (int i = 0; i < most; ++i) keys[i] = all[i];
}

/// The largest logit of a lane's even experts, and that of its odd ones.
template <class S>
__device__ __nv_bfloat162 largest_of_lane(const unsigned (&words)[S::own / 2]) {
  const auto of = [](unsigned two) { return *reinterpret_cast<const __nv_bfloat162*>(&two); };
  __nv_bfloat162 most = of(words[0]);
#pragma unroll
  for (int i = 1; i < S::own / 2; ++i) most = __hmax2(most, of(words[i]));
  return most;
}

/// The largest logit of a token.
template <int Lanes>
__device__ float largest_over_lanes(__nv_bfloat162 most) {
#pragma unroll
  for (int distance = Lanes / 2; distance > 0; distance /= 2)
    most = __hmax2(most, __shfl_xor_sync(~0u, most, distance));
  const unsigned two = *reinterpret_cast<const unsigned*>(&most);
  return fmaxf(lower(two), upper(two));
}

/// From a list in each lane to one that all of them have whole.
template <int Lanes, int Most>
__device__ void merge_whole(int (&keys)[Most]) {
#pragma unroll
  for (int distance = 1; distance < Lanes; distance *= 2) {
    int others[Most];
#pragma unroll
    for (int i = 0; i < Most; ++i) others[i] = __shfl_xor_sync(~0u, keys[i], distance);
    keep_largest<Most>(keys, others);
  }
}

/// The largest keys of a token: in the lane with the n-th part the n-th `kept` of them. Returns n; lanes
/// beyond the last key have one too large. Merging whole lists takes more operations and fewer exchanges
/// between lanes in a row: it is quicker where many lanes have much to sort.
template <class S>
__device__ int choose(int (&chosen)[S::kept], const unsigned (&words)[S::own / 2], int lane) {
  constexpr int width = S::lanes_of_token, kept = S::kept, holders = S::most < width ? S::most : width;
  using Merged = MergedOverLanes<S::most>;
  int keys[S::most];
  sort_own<S>(keys, words, lane);
  if constexpr (width * S::own < 512) {
    Merged::template merge<width>(keys, lane);
#pragma unroll
    for (int i = 0; i < kept; ++i) chosen[i] = keys[i];
    return lane < holders ? Merged::template part_of<holders>(lane) : width;
  } else {
    merge_whole<width>(keys);
#pragma unroll
    for (int i = 0; i < kept; ++i) {
      chosen[i] = keys[i];
#pragma unroll
      for (int j = 1; j < holders; ++j) chosen[i] = lane == j ? keys[j * kept + i] : chosen[i];
    }
    return lane;
  }
}

template <class S>
__global__ void __launch_bounds__(threads, S::blocks)
    router_kernel(const Half* __restrict__ logits, float* __restrict__ probabilities,
                  float* __restrict__ weights, int* __restrict__ choices, int tokens, int experts,
                  int top_k) {
  constexpr int width = S::lanes_of_token, own = S::own;
  const Place<S> place(tokens, experts);  // all lanes stay for the shuffles
  unsigned words[own / 2];
  read_logits<S>(words, logits, place);
  const __nv_bfloat162 most_of_lane = largest_of_lane<S>(words);
  const float most = largest_over_lanes<width>(most_of_lane);
  constexpr float log2_e = 1.44269504f;
  const float shift = most * log2_e;
  float held[own], total[2] = {};
#pragma unroll
  for (int i = 0; i < own; ++i) {
    const unsigned two = words[i / 2];
    total[i % 2] += held[i] = exp2f_fast((i % 2 == 0 ? lower(two) : upper(two)) * log2_e - shift);
  }
  const float share = reciprocal(sum_over_lanes<width>(total[0] + total[1]));
  write_shares<S>(probabilities, held, share, place);
  int chosen[S::kept];
  const int part = choose<S>(chosen, words, place.lane);
  OfChoices<float, S::kept> weight;
  OfChoices<int, S::kept> choice;
#pragma unroll
  for (int i = 0; i < S::kept; ++i) {
    weight.of[i] = exp2f_fast(logit_of(chosen[i]) * log2_e - shift) * share;
    choice.of[i] = expert_of(chosen[i]);
  }
  const int mine = place.token < tokens ? choices_of<S>(part, top_k) : 0;
  const int at = place.token * top_k + part * S::kept;
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
  if (experts <= 8) return by_choices<1, 8>(top_k, run);
  if (experts <= 16) return by_choices<2, 8>(top_k, run);
  if (experts <= 32) return by_choices<4, 8>(top_k, run);
  if (experts <= 48) return by_choices<4, 12>(top_k, run);
  if (experts <= 64) return by_choices<8, 8>(top_k, run);
  if (experts <= 96 && top_k <= 4) return by_choices<4, 24>(top_k, run);
  if (experts <= 96) return by_choices<8, 12>(top_k, run);
  if (experts <= 128) return by_choices<16, 8>(top_k, run);
  if (experts <= 160) return by_choices<8, 20>(top_k, run);
  if (experts <= 192) return by_choices<8, 24>(top_k, run);
  if (experts <= 256) return by_choices<16, 16>(top_k, run);
  if (experts <= 384) return by_choices<16, 24>(top_k, run);
  by_choices<16, 32>(top_k, run);
}

}  // namespace

void router(const Half* logits, float* probabilities, float* weights, int* choices, Int tokens, Int experts,
            Int top_k, cudaStream_t stream) {
  check_routing(tokens, experts, top_k);
  by_experts(experts, top_k, [&](auto split) {
    using S = decltype(split);
    router_kernel<S><<<blocks(tokens * S::lanes_of_token, threads), threads, 0, stream>>>(
        logits, probabilities, weights, choices, static_cast<int>(tokens), static_cast<int>(experts),
        static_cast<int>(top_k));
  });
  check_launch("router");
}

}  // namespace measure
