#include "team.hpp"

#include <algorithm>
#include <chrono>

#include "sampler.hpp"

namespace measure {
namespace {

constexpr std::uint64_t longest = 2'000'000'000;  // nanoseconds: a gate that nobody opens opens by itself

__global__ void wait_at_gate(volatile const int* gate) {
  std::uint64_t start = 0, now = 0;
  asm volatile("mov.u64 %0, %globaltimer;" : "=l"(start));
  do {
    __nanosleep(100);
    asm volatile("mov.u64 %0, %globaltimer;" : "=l"(now));
  } while (*gate == 0 && now - start < longest);
}

Rank made(int number, int device, std::size_t bytes) {
  check(cudaSetDevice(device), "cudaSetDevice");
  Rank rank{.number = number, .device = device, .in = Buffer(bytes), .out = Buffer(bytes)};
  check(cudaStreamCreateWithFlags(&rank.stream, cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
  check(cudaEventCreate(&rank.begin), "cudaEventCreate");
  check(cudaEventCreate(&rank.end), "cudaEventCreate");
  fill_bf16(rank.in.get(), bytes / 2, static_cast<std::uint64_t>(number + 1), rank.stream);
  return rank;
}

}  // namespace

Team::Team(const Processes& processes, std::size_t bytes) : processes_(processes) {
  int devices = 0;
  check(cudaGetDevice(&device_), "cudaGetDevice");
  check(cudaGetDeviceCount(&devices), "cudaGetDeviceCount");
  if (processes.count() > 1)
    own_.push_back(made(processes.rank(), processes.rank_in_node() % devices, bytes));
  else
    for (int device = 0; device < devices; ++device) own_.push_back(made(device, device, bytes));
  ranks_ = processes.count() > 1 ? processes.count() : devices;
  check(cudaHostAlloc(reinterpret_cast<void**>(&gate_), sizeof *gate_, cudaHostAllocPortable),
        "cudaHostAlloc");
  finish();
}

Team::~Team() {
  for (const Rank& rank : own_) {
    static_cast<void>(cudaSetDevice(rank.device));
    static_cast<void>(cudaStreamDestroy(rank.stream));
    static_cast<void>(cudaEventDestroy(rank.begin));
    static_cast<void>(cudaEventDestroy(rank.end));
  }
  static_cast<void>(cudaFreeHost(gate_));
  static_cast<void>(cudaSetDevice(device_));
}

void Team::finish() const {
  for (const Rank& rank : own_) {
    check(cudaSetDevice(rank.device), "cudaSetDevice");
    check(cudaStreamSynchronize(rank.stream), "cudaStreamSynchronize");
  }
}

double Team::sample(const std::function<void()>& round, int count, bool at_once) const {
  check_interrupt();
  volatile int* gate = gate_;
  *gate = at_once ? 1 : 0;
  for (const Rank& rank : own_) {
    check(cudaSetDevice(rank.device), "cudaSetDevice");
    wait_at_gate<<<1, 1, 0, rank.stream>>>(gate_);
    check_launch("wait_at_gate");
    check(cudaEventRecord(rank.begin, rank.stream), "cudaEventRecord");
  }
  for (int i = 0; i < count; ++i) round();
  for (const Rank& rank : own_) {
    check(cudaSetDevice(rank.device), "cudaSetDevice");
    check(cudaEventRecord(rank.end, rank.stream), "cudaEventRecord");
  }
  processes_.wait();
  *gate = 1;
  finish();
  double slowest = 0;
  for (const Rank& rank : own_) {
    float milliseconds = 0;
    check(cudaEventElapsedTime(&milliseconds, rank.begin, rank.end), "cudaEventElapsedTime");
    slowest = std::max(slowest, milliseconds * 1e-3 / count);
  }
  return processes_.largest(slowest);
}

double Team::time(const std::function<void()>& round, bool at_once) const {
  round();  // loads code, makes connections
  finish();
  const double alone = sample(round, 2, at_once);
  const int count = static_cast<int>(std::clamp(3e-3 / alone, 2.0, 100.0));
  std::vector<double> times;
  for (int i = 0; i < 7; ++i) times.push_back(sample(round, count, at_once));
  std::nth_element(times.begin(), times.begin() + 3, times.end());
  return times[3];
}

}  // namespace measure
