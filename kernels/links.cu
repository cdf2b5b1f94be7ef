// Copies between two GPUs of one process, and how long a message takes.
#include <algorithm>

#include "peers.hpp"

namespace measure {
namespace {

constexpr int turns = 1000;
constexpr std::size_t most_bytes = std::size_t{256} << 20;  // of a copy

__device__ std::uint64_t nanoseconds() {
  std::uint64_t now = 0;
  asm volatile("mov.u64 %0, %globaltimer;" : "=l"(now));
  return now;
}

/// Two kernels on two devices write to each other's memory in turn; the first says how long it took.
__global__ void play(volatile int* mine, volatile int* other, bool first, std::uint64_t* took) {
  const std::uint64_t start = nanoseconds();
  for (int turn = 1; turn <= turns; ++turn) {
    if (first) *other = turn;
    while (*mine < turn && nanoseconds() - start < 1'000'000'000) {
    }
    if (!first) *other = turn;
  }
  *took = nanoseconds() - start;
}

/// Half of the time there and back, over peer memory.
double message_time(const Rank& a, const Rank& b) {
  for (const Rank* rank : {&a, &b}) {
    check(cudaSetDevice(rank->device), "cudaSetDevice");
    check(cudaMemsetAsync(rank->out.get(), 0, 64, rank->stream), "cudaMemsetAsync");
    check(cudaStreamSynchronize(rank->stream), "cudaStreamSynchronize");
  }
  for (const Rank* rank : {&a, &b}) {
    const Rank& other = rank == &a ? b : a;
    check(cudaSetDevice(rank->device), "cudaSetDevice");
    play<<<1, 1, 0, rank->stream>>>(rank->out.get<int>(), other.out.get<int>(), rank == &a,
                                    rank->out.get<std::uint64_t>() + 4);
    check_launch("play");
  }
  std::uint64_t took = 0;
  for (const Rank* rank : {&b, &a}) {
    check(cudaSetDevice(rank->device), "cudaSetDevice");
    check(cudaStreamSynchronize(rank->stream), "cudaStreamSynchronize");
  }
  check(cudaMemcpy(&took, a.out.get<std::uint64_t>() + 4, sizeof took, cudaMemcpyDeviceToHost), "cudaMemcpy");
  return static_cast<double>(took) * 1e-9 / (2 * turns);
}

void copy(const Rank& from, const Rank& to, std::size_t bytes) {
  check(cudaSetDevice(from.device), "cudaSetDevice");
  check(cudaMemcpyPeerAsync(to.out.get(), to.device, from.in.get(), from.device, bytes, from.stream),
        "cudaMemcpyPeerAsync");
}

Link measured(const Team& team, const Rank& a, const Rank& b, bool direct) {
  const std::size_t bytes = std::min(team.bytes(), most_bytes) / (direct ? 1 : 4);
  // Copies through the host may wait for the device: they begin at once.
  const double one = team.time([&] { copy(a, b, bytes); }, !direct);
  const double both = team.time([&] { copy(a, b, bytes), copy(b, a, bytes); }, !direct);
  const double least = direct ? message_time(a, b) : team.time([&] { copy(a, b, 16); }, true);
  return {.from = a.number,
          .to = b.number,
          .way = direct ? "peer" : "host",
          .bytes_per_second = static_cast<double>(bytes) / one,
          .both_ways = static_cast<double>(bytes) / both,
          .latency = least};
}

bool can_map(const Rank& a, const Rank& b) {
  int can = 0;
  check(cudaDeviceCanAccessPeer(&can, a.device, b.device), "cudaDeviceCanAccessPeer");
  return can != 0;
}

}  // namespace

void measure_links(const Team& team, PeerTimes& times) {
  // Through the host first: once memory is mapped, copies go directly.
  for (const bool direct : {false, true}) {
    for (const Rank& a : team.own()) {
      for (const Rank& b : team.own()) {
        if (a.number == b.number || (direct && !can_map(a, b))) continue;
        check(cudaSetDevice(a.device), "cudaSetDevice");
        if (direct) {
          static_cast<void>(cudaDeviceEnablePeerAccess(b.device, 0));
          static_cast<void>(cudaGetLastError());  // enabled before is no error
        }
      }
    }
    for (const Rank& a : team.own())
      for (const Rank& b : team.own())
        if (a.number != b.number && (!direct || can_map(a, b)))
          times.links.push_back(measured(team, a, b, direct));
  }
}

}  // namespace measure
