#include <algorithm>
#include <chrono>
#include <cmath>
#include <csignal>
#include <cstdlib>
#include <thread>
#include <vector>

#include "sampler.hpp"
#include "statistics.hpp"

namespace measure {
namespace {

volatile std::sig_atomic_t interrupted = 0;

__global__ void wait_for(std::uint64_t nanoseconds) {
  std::uint64_t start = 0, now = 0;
  asm volatile("mov.u64 %0, %globaltimer;" : "=l"(start));
  do {
    __nanosleep(200);
    asm volatile("mov.u64 %0, %globaltimer;" : "=l"(now));
  } while (now - start < nanoseconds);
}

/// Where and when.
struct Stamp {
  std::uint64_t multiprocessor = 0, cycles = 0, nanoseconds = 0;
};

__global__ void take_stamp(Stamp* stamp) {
  std::uint32_t multiprocessor = 0;
  asm volatile("mov.u32 %0, %smid;" : "=r"(multiprocessor));
  stamp->multiprocessor = multiprocessor;
  stamp->cycles = static_cast<std::uint64_t>(clock64());
  asm volatile("mov.u64 %0, %globaltimer;" : "=l"(stamp->nanoseconds));
}

}  // namespace

void check_interrupt() {
  if (interrupted != 0) throw Interrupted{};
}

void watch_interrupts() {
  const auto note = [](int) {
    if (interrupted != 0) std::_Exit(130);  // asked twice
    interrupted = 1;
  };
  std::signal(SIGINT, note);
  std::signal(SIGTERM, note);
}

Sampler::Sampler(cudaStream_t stream, const Patience& patience)
    : stream_(stream), patience_(patience), stamps_(2 * sizeof(Stamp)) {
  check(cudaEventCreate(&start_), "cudaEventCreate");
  check(cudaEventCreate(&stop_), "cudaEventCreate");
}

Sampler::~Sampler() {
  static_cast<void>(cudaEventDestroy(start_));
  static_cast<void>(cudaEventDestroy(stop_));
}

void Sampler::stamp(int which) {
  take_stamp<<<1, 1, 0, stream_>>>(stamps_.get<Stamp>() + which);
  check_launch("take_stamp");
}

double Sampler::stamped_mhz() const {
  Stamp stamps[2];
  check(cudaMemcpy(stamps, stamps_.get(), sizeof stamps, cudaMemcpyDeviceToHost), "cudaMemcpy");
  const auto& [begin, end] = stamps;
  if (begin.multiprocessor != end.multiprocessor || end.nanoseconds <= begin.nanoseconds) return 0;
  return 1e3 * static_cast<double>(end.cycles - begin.cycles) /
         static_cast<double>(end.nanoseconds - begin.nanoseconds);
}

void Sampler::pause(double seconds) {
  wait_for<<<1, 1, 0, stream_>>>(static_cast<std::uint64_t>(seconds * 1e9));
  check_launch("wait_for");
}

double Sampler::sample(const std::function<void(int)>& call, int calls, double wait_seconds) {
  check_interrupt();
  if (wait_seconds > 0) pause(wait_seconds);
  stamp(0);
  check(cudaEventRecord(start_, stream_), "cudaEventRecord");
  for (int i = 0; i < calls; ++i) call(calls_++);
  check(cudaEventRecord(stop_, stream_), "cudaEventRecord");
  stamp(1);
  check(cudaEventSynchronize(stop_), "cudaEventSynchronize");
  float milliseconds = 0;
  check(cudaEventElapsedTime(&milliseconds, start_, stop_), "cudaEventElapsedTime");
  return milliseconds * 1e-3 / calls;
}

double Sampler::launch_cost(const std::function<void(int)>& call) {
  wait_for<<<1, 1, 0, stream_>>>(2'000'000);
  check_launch("wait_for");
  const auto start = Clock::now();
  for (int i = 0; i < 2; ++i) call(calls_++);
  const double host = since(start) / 2;
  check(cudaStreamSynchronize(stream_), "cudaStreamSynchronize");
  return std::max(host, 1e-6);
}

double Sampler::glance(const std::function<void(int)>& call) {
  sample(call, 1, 0);
  const double host = launch_cost(call);
  const double alone = sample(call, 2, 2.6 * host);
  const int calls = static_cast<int>(std::clamp(0.002 / std::max(alone, host), 1.0, 50.0));
  std::vector<double> samples;
  for (int i = 0; i < 3; ++i) samples.push_back(sample(call, calls, 1.3 * calls * host));
  return median(samples);
}

Timing Sampler::time(const std::function<void(int)>& call) {
  return time(call, patience_.warm_seconds, patience_.rest);
}

Timing Sampler::time_warm(const std::function<void(int)>& call) {
  return time(call, 0.1 * patience_.warm_seconds, patience_.rest);
}

Timing Sampler::time_in_loop(const std::function<void(int)>& call) {
  constexpr double until_settled = 0.4;  // an H200's clock falls within a tenth of a second, and swings
  return time(call, until_settled, 0);
}

Timing Sampler::time(const std::function<void(int)>& call, double warm_seconds, double rest) {
  calls_ = 0;
  sample(call, 1, 0);  // loads code
  sample(call, 1, 1e-5);
  const double alone = sample(call, 2, 1e-3);
  const double host = launch_cost(call);
  // The queue of launches holds about a thousand; a launch costs the host some 3 us.
  const double queued = std::max(1.0, 800 * 3e-6 / host);
  const int calls =
      static_cast<int>(std::clamp(std::min(patience_.sample_seconds / alone, queued), 1.0, 250.0));
  // The whole sample is launched before it begins: a call of some microseconds ends sooner than the next one
  // is launched.
  const double wait = 2e-5 + 1.3 * calls * host;
  const auto warm = Clock::now();
  while (since(warm) < warm_seconds) sample(call, calls, 0);
  std::vector<double> samples, clocks;
  double centre = 0, noise = 0, elapsed = 0;
  while (true) {
    const auto begin = Clock::now();
    samples.push_back(sample(call, calls, wait));
    const double own = since(begin);
    elapsed += own;
    check(cudaStreamSynchronize(stream_), "cudaStreamSynchronize");
    clocks.push_back(stamped_mhz());
    if (rest > 0) std::this_thread::sleep_for(std::chrono::duration<double>(rest * own));
    if (samples.size() < 3 || (elapsed < patience_.least_seconds && samples.size() < 40)) continue;
    centre = median(samples);
    noise = deviation(samples, centre) / centre;
    const double error = 1.25 * noise / std::sqrt(static_cast<double>(samples.size()));
    if (samples.size() >= 5 && error < patience_.steady) break;
    if (elapsed > patience_.most_seconds) break;
  }
  return {centre, noise, median(clocks), static_cast<int>(samples.size())};
}

}  // namespace measure
