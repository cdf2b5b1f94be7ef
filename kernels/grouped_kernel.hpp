// Products of several experts in one kernel: its blocks stay and go through the tiles of all experts, so that
// neither launches nor waves of single experts show. The copy engine brings operands, two groups of four
// warps multiply (wgmma). For .cu files alone.
#pragma once

#include <cuda_bf16.h>

#include <algorithm>

#include "hopper.hpp"

namespace measure::grouped {

/// What the depth of an expert's product is, and how operands lie.
enum class Kind {
  forward,         ///< both with depth innermost
  backward_input,  ///< B with columns innermost
  backward_weight  ///< both with depth outermost; adds to fp32
};

/// What all blocks know: where the rows and the tiles of each expert begin (one more entry than experts).
struct Task {
  const int* first_row;
  const int* first_tile;
  void* out;
  int rows, columns, depth;  ///< of each expert's result; for weights `depth` and else `rows` is the expert's
};

/// A tile of 64 Tall x 128 Wide (2 / Tall) of the result: two groups of warps, over or beside each other.
template <Kind K, int Tall, int Wide>
struct Tile {
  static constexpr int rows = 64 * Tall, beside = 2 / Tall, columns = 128 * Wide * beside;
  static constexpr int line = 128;  ///< bytes of depth (or of 64 columns) in shared memory
  static constexpr int a_bytes = rows * line, b_bytes = columns * line, bytes = a_bytes + b_bytes;
  /// Where each warp turns eight rows of sums, so that it reads and writes whole rows of weight gradients.
  static constexpr int row_floats = 128 + 8;
  static constexpr int turned_bytes = K == Kind::backward_weight ? 8 * 8 * row_floats * 4 : 0;
  static constexpr int stages = std::min(6, (230000 - turned_bytes) / bytes);
  static constexpr int shared_bytes =
      stages * bytes + turned_bytes + 1024;  ///< to begin at a multiple of 1024
};
constexpr int threads = 384;  // four warps that load, eight that multiply

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)

/// The expert of a tile and the place of the tile in it.
struct Place {
  int expert = 0, row = 0, column = 0, depth = 0;
};

template <Kind K, class T>
__device__ Place place_of(const Task& task, int tile, int expert) {
  while (tile >= task.first_tile[expert + 1]) ++expert;
  const int own_rows = task.first_row[expert + 1] - task.first_row[expert];
  const int rows = K == Kind::backward_weight ? task.rows : own_rows;
  const int down = (rows + T::rows - 1) / T::rows, within = tile - task.first_tile[expert];
  return {expert, within % down * T::rows, within / down * T::columns,
          K == Kind::backward_weight ? own_rows : task.depth};
}

/// One thread asks the copy engine for every box, as stages become free.
template <Kind K, class T, int Step>
__device__ void bring(const CUtensorMap* a, const CUtensorMap* b, const Task& task, unsigned char* memory,
                      std::uint64_t* full, std::uint64_t* empty, int tiles) {
  int stage = 0, expert = 0;
  std::uint32_t phase = 0;
  for (int tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
    const Place place = place_of<K, T>(task, tile, expert);
    expert = place.expert;
    const int first_row = task.first_row[expert];
    for (int depth = 0; depth < place.depth; depth += Step) {
      hopper::wait(&empty[stage], phase ^ 1);
      hopper::arrive_expecting(&full[stage], T::bytes);
      unsigned char* to_a = memory + stage * T::bytes;
      unsigned char* to_b = to_a + T::a_bytes;
      if constexpr (K == Kind::backward_weight) {
        for (int i = 0; i < T::rows / 64; ++i)
          hopper::load_box(to_a + i * 64 * T::line, a, place.row + 64 * i, first_row + depth, &full[stage]);
      } else {
        hopper::load_box(to_a, a, depth, first_row + place.row, &full[stage]);
      }
      if constexpr (K == Kind::forward) {
        hopper::load_box(to_b, b, depth, expert * task.columns + place.column, &full[stage]);
      } else {
        const int row = (K == Kind::backward_weight ? first_row : expert * task.depth) + depth;
        for (int i = 0; i < T::columns / 64; ++i)
          hopper::load_box(to_b + i * 64 * T::line, b, place.column + 64 * i, row, &full[stage]);
      }
      if (++stage == T::stages) stage = 0, phase ^= 1;
    }
  }
}

/// Rows of a box below an expert's last are another expert's: they become zero.
__device__ inline void clear_below(unsigned char* box, int rows, int group) {
  for (int i = rows * 8 + threadIdx.x % 128; i < 64 * 8; i += 128)
    reinterpret_cast<uint4*>(box)[i] = uint4{0, 0, 0, 0};
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
  asm volatile("bar.sync %0, 128;" ::"r"(1 + group) : "memory");
}

/// Products of one stage: 128 bytes of depth in four steps.
template <Kind K, class T, int Wide, bool Fp8>
__device__ void multiply(float (&sums)[Wide][64], const unsigned char* a, const unsigned char* b, bool adds) {
  constexpr bool a_turned = K == Kind::backward_weight, b_turned = K != Kind::forward;
  hopper::begin_products();
#pragma unroll
  for (int step = 0; step < 4; ++step) {
    const std::uint64_t left = hopper::describe(a + step * (a_turned ? 2048 : 32), 8192, 1024);
#pragma unroll
    for (int w = 0; w < Wide; ++w) {
      const unsigned char* from = b + w * 128 * T::line + step * (b_turned ? 2048 : 32);
      const std::uint64_t right = hopper::describe(from, 8192, 1024);
      if constexpr (Fp8)
        hopper::multiply_fp8(sums[w], left, right, adds || step > 0);
      else
        hopper::multiply_bf16<a_turned, b_turned>(sums[w], left, right, adds || step > 0);
    }
  }
  hopper::commit_products();
}

__device__ inline std::uint32_t picked(const std::uint32_t (&four)[4], int which) {
  const std::uint32_t low = which & 1 ? four[1] : four[0], high = which & 1 ? four[3] : four[2];
  return which & 2 ? high : low;
}

/// Sums to bf16: four threads of a row exchange what they hold, so that each writes 16 bytes.
__device__ inline void write_bf16(const float (&sums)[64], __nv_bfloat16* out, int rows_left,
                                  int columns_left, std::int64_t width) {
  const int lane = threadIdx.x % 32, mine = lane % 4, row = threadIdx.x / 32 % 4 * 16 + lane / 4;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
#pragma unroll
    for (int group = 0; group < 4; ++group) {
      std::uint32_t held[4], met[4];
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int at = (group * 4 + i) * 4 + half * 2;
        const __nv_bfloat162 two = __floats2bfloat162_rn(sums[at], sums[at + 1]);
        held[i] = *reinterpret_cast<const std::uint32_t*>(&two);
      }
      met[0] = picked(held, mine);
#pragma unroll
      for (int i = 1; i < 4; ++i) met[i] = __shfl_xor_sync(~0u, picked(held, mine ^ i), i);
      const int here = row + half * 8, column = group * 32 + mine * 8;
      if (here >= rows_left || column >= columns_left) continue;
      *reinterpret_cast<uint4*>(out + here * width + column) =
          uint4{picked(met, mine), picked(met, mine ^ 1), picked(met, mine ^ 2), picked(met, mine ^ 3)};
    }
  }
}

/// Adds sums to fp32, a row of 128 at a time; `turned` is the warp's own.
template <int RowFloats>
__device__ void add_float(const float (&sums)[64], float* out, float* turned, int rows_left, int columns_left,
                          std::int64_t width) {
  const int lane = threadIdx.x % 32, column = lane * 4;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    __syncwarp();
#pragma unroll
    for (int i = 0; i < 16; ++i)
      *reinterpret_cast<float2*>(turned + lane / 4 * RowFloats + i * 8 + lane % 4 * 2) =
          float2{sums[i * 4 + half * 2], sums[i * 4 + half * 2 + 1]};
    __syncwarp();
    const int first = threadIdx.x / 32 % 4 * 16 + half * 8;
    float4 held[8];
#pragma unroll
    for (int row = 0; row < 8; ++row)
      if (first + row < rows_left && column < columns_left)
        held[row] = __ldcs(reinterpret_cast<const float4*>(out + (first + row) * width + column));
#pragma unroll
    for (int row = 0; row < 8; ++row) {
      if (first + row >= rows_left || column >= columns_left) continue;
      const float4 more = *reinterpret_cast<const float4*>(turned + row * RowFloats + column);
      __stcs(reinterpret_cast<float4*>(out + (first + row) * width + column),
             float4{held[row].x + more.x, held[row].y + more.y, held[row].z + more.z, held[row].w + more.w});
    }
  }
}

/// A group of four warps multiplies 64 rows and 128 Wide columns of every tile of the block.
template <Kind K, class T, int Wide, bool Fp8>
__device__ void work(const Task& task, unsigned char* memory, std::uint64_t* full, std::uint64_t* empty,
                     int tiles, int group) {
  constexpr int step = Fp8 ? 128 : 64;
  const int row_part = T::beside == 1 ? group : 0, column_part = T::beside == 1 ? 0 : group;
  int stage = 0, expert = 0;
  std::uint32_t phase = 0;
  for (int tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
    const Place place = place_of<K, T>(task, tile, expert);
    expert = place.expert;
    float sums[Wide][64] = {};
    int before = -1;  // stage whose products are still being computed
    for (int depth = 0; depth < place.depth; depth += step) {
      hopper::wait(&full[stage], phase);
      unsigned char* a = memory + stage * T::bytes + row_part * 64 * T::line;
      const unsigned char* b = memory + stage * T::bytes + T::a_bytes + column_part * 128 * Wide * T::line;
      if (K == Kind::backward_weight && place.depth - depth < 64) clear_below(a, place.depth - depth, group);
      if constexpr (Fp8) {  // the matrix unit adds e4m3 in few bits: its sums are added in fp32 every 128
        float part[Wide][64];
#pragma unroll
        for (int w = 0; w < Wide; ++w) hopper::pin(part[w]);
        multiply<K, T, Wide, Fp8>(part, a, b, false);
        hopper::await_products<0>();
#pragma unroll
        for (int w = 0; w < Wide; ++w) {
          hopper::pin(part[w]);
#pragma unroll
          for (int i = 0; i < 64; ++i) sums[w][i] += part[w][i];
        }
        if (threadIdx.x % 128 == 0) hopper::arrive(&empty[stage]);
      } else {
#pragma unroll
        for (int w = 0; w < Wide; ++w) hopper::pin(sums[w]);
        multiply<K, T, Wide, Fp8>(sums, a, b, true);
        hopper::await_products<1>();
        if (before >= 0 && threadIdx.x % 128 == 0) hopper::arrive(&empty[before]);
        before = stage;
      }
      if (++stage == T::stages) stage = 0, phase ^= 1;
    }
    hopper::await_products<0>();
#pragma unroll
    for (int w = 0; w < Wide; ++w) hopper::pin(sums[w]);
    if (before >= 0 && threadIdx.x % 128 == 0) hopper::arrive(&empty[before]);
    const int row = place.row + row_part * 64, column = place.column + column_part * 128 * Wide;
    const std::int64_t width = task.columns;
#pragma unroll
    for (int w = 0; w < Wide; ++w) {
      const int columns_left = task.columns - column - w * 128;
      if constexpr (K == Kind::backward_weight) {
        float* out =
            static_cast<float*>(task.out) + (static_cast<std::int64_t>(expert) * task.rows + row) * width;
        float* turned = reinterpret_cast<float*>(memory + T::stages * T::bytes) +
                        (threadIdx.x / 32 - 4) * 8 * T::row_floats;
        add_float<T::row_floats>(sums[w], out + column + w * 128, turned, task.rows - row, columns_left,
                                 width);
      } else {
        const int first = task.first_row[expert];
        write_bf16(sums[w], static_cast<__nv_bfloat16*>(task.out) + (first + row) * width + column + w * 128,
                   task.first_row[expert + 1] - first - row, columns_left, width);
      }
    }
  }
}

#endif

template <Kind K, int Tall, int Wide, bool Fp8>
__global__ void __launch_bounds__(threads, 1)
    products(const __grid_constant__ CUtensorMap a, const __grid_constant__ CUtensorMap b, const Task task,
             int tiles) {
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
  using T = Tile<K, Tall, Wide>;
  extern __shared__ unsigned char raw[];
  __shared__ std::uint64_t full[T::stages], empty[T::stages];
  unsigned char* memory = raw + (1024 - hopper::shared_address(raw) % 1024) % 1024;
  if (threadIdx.x == 0) {
    for (int i = 0; i < T::stages; ++i) {
      hopper::start_barrier(&full[i], 1);
      hopper::start_barrier(&empty[i], 2);
    }
    hopper::publish_barriers();
  }
  __syncthreads();
  if (threadIdx.x < 128) {
    asm volatile("setmaxnreg.dec.sync.aligned.u32 40;");
    if (threadIdx.x == 0) bring<K, T, Fp8 ? 128 : 64>(&a, &b, task, memory, full, empty, tiles);
  } else {
    asm volatile("setmaxnreg.inc.sync.aligned.u32 232;");
    work<K, T, Wide, Fp8>(task, memory, full, empty, tiles, static_cast<int>(threadIdx.x) / 128 - 1);
  }
#endif
}

}  // namespace measure::grouped
