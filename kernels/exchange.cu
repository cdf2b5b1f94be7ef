#include "exchange.hpp"

#include <random>

#include "peers.hpp"

namespace measure {
namespace {

constexpr int most_choices = 8;

/// One block a token: reads its row once, writes it to every place.
__global__ void dispatch_kernel(const uint4* __restrict__ rows, uint4* const* __restrict__ places, int width,
                                int top_k) {
  const uint4* from = rows + static_cast<Int>(blockIdx.x) * width;
  for (int i = threadIdx.x; i < width; i += blockDim.x) {
    const uint4 held = __ldcs(from + i);
    for (int j = 0; j < top_k; ++j) places[blockIdx.x * top_k + j][i] = held;
  }
}

/// One block a token: adds what its places hold.
template <int TopK>
__global__ void combine_kernel(const uint4* const* __restrict__ places, Half* __restrict__ out, int width) {
  for (int i = threadIdx.x; i < width; i += blockDim.x) {
    uint4 held[TopK];
#pragma unroll
    for (int j = 0; j < TopK; ++j) held[j] = __ldcs(places[blockIdx.x * TopK + j] + i);
    float sums[vector] = {};
#pragma unroll
    for (int j = 0; j < TopK; ++j) {
      const Eight& eight = *reinterpret_cast<const Eight*>(&held[j]);
      for (int v = 0; v < vector; ++v) sums[v] += real(eight.value[v]) * (1.0f / TopK);
    }
    Eight result;
    for (int v = 0; v < vector; ++v) result.value[v] = __float2bfloat16(sums[v]);
    store(out + (static_cast<Int>(blockIdx.x) * width + i) * vector, result);
  }
}

}  // namespace

bool map_all(const Team& team) {
  for (const Rank& a : team.own()) {
    for (const Rank& b : team.own()) {
      if (a.device == b.device) continue;
      int can = 0;
      check(cudaDeviceCanAccessPeer(&can, a.device, b.device), "cudaDeviceCanAccessPeer");
      if (can == 0) return false;
      check(cudaSetDevice(a.device), "cudaSetDevice");
      static_cast<void>(cudaDeviceEnablePeerAccess(b.device, 0));
      static_cast<void>(cudaGetLastError());  // enabled before is no error
    }
  }
  return true;
}

Exchange::Exchange(const Team& team, Int tokens, Int hidden, Int top_k)
    : team_(team), tokens_(tokens), hidden_(hidden), top_k_(top_k) {
  if (top_k != most_choices) throw NotOffered("exchanges of 8 choices a token");
  std::mt19937 random(3);
  const std::size_t ranks = team.own().size();
  struct To {
    std::size_t rank;
    Int row;
  };
  std::vector<std::vector<To>> plans(ranks);
  std::vector<Int> arrived(ranks);
  for (std::vector<To>& plan : plans)
    for (Int i = 0; i < tokens * top_k; ++i) {
      const std::size_t to = random() % ranks;
      plan.push_back({to, arrived[to]++});
    }
  const auto row_bytes = static_cast<std::size_t>(hidden) * sizeof(Half);
  for (std::size_t r = 0; r < ranks; ++r) {
    check(cudaSetDevice(team.own()[r].device), "cudaSetDevice");
    Side side{Buffer(static_cast<std::size_t>(tokens) * row_bytes),
              Buffer(static_cast<std::size_t>(arrived[r]) * row_bytes),
              Buffer(static_cast<std::size_t>(tokens) * row_bytes), Buffer(plans[r].size() * sizeof(void*))};
    fill_bf16(side.in.get(), side.in.size() / 2, r + 11, team.own()[r].stream);
    sides_.push_back(std::move(side));
  }
  team.finish();
  for (std::size_t r = 0; r < ranks; ++r) {
    std::vector<char*> places;
    for (const To& to : plans[r])
      places.push_back(sides_[to.rank].arrived.get<char>() + static_cast<std::size_t>(to.row) * row_bytes);
    check(cudaMemcpy(sides_[r].places.get(), places.data(), sides_[r].places.size(), cudaMemcpyHostToDevice),
          "cudaMemcpy");
  }
}

void Exchange::dispatch() const {
  for (std::size_t r = 0; r < sides_.size(); ++r) {
    check(cudaSetDevice(team_.own()[r].device), "cudaSetDevice");
    dispatch_kernel<<<static_cast<unsigned>(tokens_), 256, 0, team_.own()[r].stream>>>(
        sides_[r].in.get<uint4>(), sides_[r].places.get<uint4*>(), static_cast<int>(hidden_ / vector),
        static_cast<int>(top_k_));
    check_launch("dispatch_kernel");
  }
}

void Exchange::combine() const {
  for (std::size_t r = 0; r < sides_.size(); ++r) {
    check(cudaSetDevice(team_.own()[r].device), "cudaSetDevice");
    combine_kernel<most_choices><<<static_cast<unsigned>(tokens_), 256, 0, team_.own()[r].stream>>>(
        sides_[r].places.get<const uint4*>(), sides_[r].back.get<Half>(), static_cast<int>(hidden_ / vector));
    check_launch("combine_kernel");
  }
}

void measure_exchange(const Team& team, PeerTimes& times, bool quick) {
  if (!map_all(team))
    return times.notes.push_back(
        "own dispatch and combine: not measured, GPUs cannot map each other's memory");
  constexpr Int hidden = 7168, top_k = most_choices;
  for (const Int tokens :
       quick ? std::vector<Int>{128, 1024} : std::vector<Int>{16, 128, 512, 1024, 2048, 4096}) {
    const Exchange exchange(team, tokens, hidden, top_k);
    const auto bytes = static_cast<std::size_t>(tokens * top_k * hidden) * sizeof(Half);
    const double out = team.time([&] { exchange.dispatch(); });
    const double back = team.time([&] { exchange.combine(); });
    times.collectives.push_back(
        {.collective = "dispatch", .library = "own", .ranks = team.ranks(), .bytes = bytes, .seconds = out});
    times.collectives.push_back(
        {.collective = "combine", .library = "own", .ranks = team.ranks(), .bytes = bytes, .seconds = back});
  }
}

}  // namespace measure
