#include "peers.hpp"

#include <algorithm>
#include <chrono>
#include <functional>

#include "sampler.hpp"

#ifdef MEASURE_NCCL
#include <nccl.h>
#endif

namespace measure {
namespace {

/// A stream and buffers on each device.
struct Rank {
  int device = 0;
  cudaStream_t stream{};
  Buffer in, out;
};

double median_of(int repeats, const std::function<double()>& run) {
  std::vector<double> times;
  for (int i = 0; i < repeats; ++i) {
    check_interrupt();
    times.push_back(run());
  }
  std::sort(times.begin(), times.end());
  return times[times.size() / 2];
}

void wait_for_all(const std::vector<Rank>& ranks) {
  for (const Rank& rank : ranks) {
    check(cudaSetDevice(rank.device), "cudaSetDevice");
    check(cudaStreamSynchronize(rank.stream), "cudaStreamSynchronize");
  }
}

/// Wall time of `count` rounds on all devices, over `count`.
double wall(const std::vector<Rank>& ranks, int count, const std::function<void()>& round) {
  wait_for_all(ranks);
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < count; ++i) round();
  wait_for_all(ranks);
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() / count;
}

/// Each block pulls its share of the rows that peers have for this rank: peers[p] + share of rank.
__global__ void pull(const uint4* const* peers, uint4* out, std::int64_t share, int rank, int count) {
  const int peer = blockIdx.y;
  const uint4* from = peers[peer] + rank * share;
  uint4* to = out + peer * share;
  for (std::int64_t i = blockIdx.x * static_cast<std::int64_t>(blockDim.x) + threadIdx.x; i < share;
       i += static_cast<std::int64_t>(gridDim.x) * blockDim.x)
    to[i] = from[i];
  static_cast<void>(count);
}

void measure_links(const std::vector<Rank>& ranks, PeerTimes& times) {
  for (const Rank& a : ranks) {
    for (const Rank& b : ranks) {
      if (a.device == b.device) continue;
      int direct = 0;
      check(cudaDeviceCanAccessPeer(&direct, a.device, b.device), "cudaDeviceCanAccessPeer");
      const auto copy = [&](std::size_t bytes) {
        check(cudaMemcpyPeerAsync(b.out.get(), b.device, a.in.get(), a.device, bytes, a.stream),
              "cudaMemcpyPeerAsync");
      };
      check(cudaSetDevice(a.device), "cudaSetDevice");
      copy(1 << 20);
      const double large = median_of(5, [&] {
        return wall({}, 1, [&] {
          copy(a.in.size());
          check(cudaStreamSynchronize(a.stream), "cudaStreamSynchronize");
        });
      });
      const double small = median_of(20, [&] {
        return wall({}, 1, [&] {
          copy(16);
          check(cudaStreamSynchronize(a.stream), "cudaStreamSynchronize");
        });
      });
      times.links.push_back(
          {a.device, b.device, direct != 0, static_cast<double>(a.in.size()) / large, small});
    }
  }
}

void measure_own_exchange(std::vector<Rank>& ranks, PeerTimes& times, bool quick) {
  const int count = static_cast<int>(ranks.size());
  std::vector<const uint4*> pointers;
  for (const Rank& rank : ranks) pointers.push_back(rank.in.get<const uint4>());
  for (const Rank& a : ranks)
    for (const Rank& b : ranks) {
      int direct = 0;
      if (a.device != b.device)
        check(cudaDeviceCanAccessPeer(&direct, a.device, b.device), "cudaDeviceCanAccessPeer");
      if (a.device != b.device && direct == 0)
        return times.notes.push_back("own all-to-all: devices cannot map each other's memory");
    }
  std::vector<Buffer> tables;
  for (const Rank& a : ranks) {
    check(cudaSetDevice(a.device), "cudaSetDevice");
    for (const Rank& b : ranks)
      if (a.device != b.device) static_cast<void>(cudaDeviceEnablePeerAccess(b.device, 0));
    static_cast<void>(cudaGetLastError());  // enabled before is no error
    tables.emplace_back(pointers.size() * sizeof(void*));
    check(cudaMemcpy(tables.back().get(), pointers.data(), tables.back().size(), cudaMemcpyHostToDevice),
          "cudaMemcpy");
  }
  for (std::size_t bytes = 1 << 16; bytes <= ranks[0].in.size(); bytes *= quick ? 16 : 4) {
    const auto share = static_cast<std::int64_t>(bytes / sizeof(uint4)) / count;
    const double seconds = median_of(7, [&] {
      return wall(ranks, 10, [&] {
        for (std::size_t r = 0; r < ranks.size(); ++r) {
          check(cudaSetDevice(ranks[r].device), "cudaSetDevice");
          pull<<<dim3(16, static_cast<unsigned>(count)), 512, 0, ranks[r].stream>>>(
              tables[r].get<const uint4*>(), ranks[r].out.get<uint4>(), share, static_cast<int>(r), count);
          check_launch("pull");
        }
      });
    });
    // Dispatch and combine move the same bytes the other way round: one measurement stands for both.
    times.collectives.push_back({"own_dispatch_combine", count, bytes, seconds});
  }
}

#ifdef MEASURE_NCCL
void check(ncclResult_t status, const char* call,
           std::source_location where = std::source_location::current()) {
  if (status != ncclSuccess) throw DeviceError(failure(call, ncclGetErrorString(status), where));
}

void measure_nccl(std::vector<Rank>& ranks, PeerTimes& times, bool quick) {
  const int count = static_cast<int>(ranks.size());
  std::vector<ncclComm_t> comms(ranks.size());
  check(ncclCommInitAll(comms.data(), count, nullptr), "ncclCommInitAll");
  const auto collective = [&](const std::string& name, std::size_t bytes) {
    check(ncclGroupStart(), "ncclGroupStart");
    for (std::size_t r = 0; r < ranks.size(); ++r) {
      const Rank& rank = ranks[r];
      const std::size_t part = bytes / ranks.size();
      if (name == "all_reduce")
        check(ncclAllReduce(rank.in.get(), rank.out.get(), bytes / 2, ncclBfloat16, ncclSum, comms[r],
                            rank.stream),
              "ncclAllReduce");
      if (name == "all_gather")
        check(ncclAllGather(rank.in.get(), rank.out.get(), part / 2, ncclBfloat16, comms[r], rank.stream),
              "ncclAllGather");
      if (name == "reduce_scatter")
        check(ncclReduceScatter(rank.in.get(), rank.out.get(), part / 2, ncclBfloat16, ncclSum, comms[r],
                                rank.stream),
              "ncclReduceScatter");
      for (int peer = 0; name == "all_to_all" && peer < count; ++peer) {
        const std::size_t offset = static_cast<std::size_t>(peer) * part;
        check(ncclSend(rank.in.get<char>() + offset, part, ncclInt8, peer, comms[r], rank.stream),
              "ncclSend");
        check(ncclRecv(rank.out.get<char>() + offset, part, ncclInt8, peer, comms[r], rank.stream),
              "ncclRecv");
      }
    }
    check(ncclGroupEnd(), "ncclGroupEnd");
  };
  for (const char* name : {"all_to_all", "all_reduce", "all_gather", "reduce_scatter"}) {
    for (std::size_t bytes = 1 << 16; bytes <= ranks[0].in.size(); bytes *= quick ? 16 : 4) {
      collective(name, bytes);
      times.collectives.push_back({name, count, bytes, median_of(7, [&] {
                                     return wall(ranks, 10, [&] { collective(name, bytes); });
                                   })});
    }
  }
  for (ncclComm_t comm : comms) static_cast<void>(ncclCommDestroy(comm));
}
#endif

}  // namespace

PeerTimes measure_peers(bool quick) {
  PeerTimes times;
  int devices = 0;
  check(cudaGetDeviceCount(&devices), "cudaGetDeviceCount");
  times.notes.push_back("links between nodes: not measured, this program runs on one");
  if (devices < 2) {
    times.notes.push_back("links between GPUs and collectives: not measured, there is one GPU");
    return times;
  }
  int current = 0;
  check(cudaGetDevice(&current), "cudaGetDevice");
  std::vector<Rank> ranks;
  const std::size_t bytes = std::size_t{quick ? 32u : 256u} << 20;
  for (int device = 0; device < devices; ++device) {
    check(cudaSetDevice(device), "cudaSetDevice");
    Rank rank{.device = device, .stream = {}, .in = Buffer(bytes), .out = Buffer(bytes)};
    check(cudaStreamCreateWithFlags(&rank.stream, cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
    ranks.push_back(std::move(rank));
  }
  measure_links(ranks, times);
  measure_own_exchange(ranks, times, quick);
#ifdef MEASURE_NCCL
  measure_nccl(ranks, times, quick);
#else
  times.notes.push_back("collectives of NCCL: not measured, built without it");
#endif
  for (const Rank& rank : ranks) static_cast<void>(cudaStreamDestroy(rank.stream));
  check(cudaSetDevice(current), "cudaSetDevice");
  return times;
}

}  // namespace measure
