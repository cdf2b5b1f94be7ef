#include "team.hpp"

#include <algorithm>
#include <chrono>

#include "sampler.hpp"

namespace measure {
namespace {

Rank made(int number, int device, std::size_t bytes, bool urgent) {
  check(cudaSetDevice(device), "cudaSetDevice");
  Rank rank{.number = number, .device = device, .in = Buffer(bytes), .out = Buffer(bytes)};
  int least = 0, greatest = 0;
  check(cudaDeviceGetStreamPriorityRange(&least, &greatest), "cudaDeviceGetStreamPriorityRange");
  check(cudaStreamCreateWithPriority(&rank.stream, cudaStreamNonBlocking, urgent ? greatest : least),
        "cudaStreamCreateWithPriority");
  check(cudaEventCreate(&rank.begin), "cudaEventCreate");
  check(cudaEventCreate(&rank.end), "cudaEventCreate");
  fill_bf16(rank.in.get(), bytes / 2, static_cast<std::uint64_t>(number + 1), rank.stream);
  return rank;
}

}  // namespace

Team::Team(const Processes& processes, std::size_t bytes, bool urgent) : processes_(processes) {
  int devices = 0;
  check(cudaGetDevice(&device_), "cudaGetDevice");
  check(cudaGetDeviceCount(&devices), "cudaGetDeviceCount");
  if (processes.count() > 1)
    own_.push_back(made(processes.rank(), processes.rank_in_node() % devices, bytes, urgent));
  else
    for (int device = 0; device < devices; ++device) own_.push_back(made(device, device, bytes, urgent));
  ranks_ = processes.count() > 1 ? processes.count() : devices;
  finish();
}

Team::~Team() {
  for (const Rank& rank : own_) {
    static_cast<void>(cudaSetDevice(rank.device));
    static_cast<void>(cudaStreamDestroy(rank.stream));
    static_cast<void>(cudaEventDestroy(rank.begin));
    static_cast<void>(cudaEventDestroy(rank.end));
  }
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
  at_once ? gate_.open() : gate_.close();
  for (const Rank& rank : own_) {
    check(cudaSetDevice(rank.device), "cudaSetDevice");
    gate_.hold(rank.stream);
    check(cudaEventRecord(rank.begin, rank.stream), "cudaEventRecord");
  }
  for (int i = 0; i < count; ++i) round();
  for (const Rank& rank : own_) {
    check(cudaSetDevice(rank.device), "cudaSetDevice");
    check(cudaEventRecord(rank.end, rank.stream), "cudaEventRecord");
  }
  processes_.wait();
  gate_.open();
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
