#include "hold.hpp"

namespace measure {
namespace {

constexpr std::size_t block_bytes = std::size_t{4} << 20;
constexpr int most_blocks = 128, threads = 512, deep = 8, turns = 4;
constexpr int shared_bytes = 200 * 1024;  // so that a multiprocessor has room for one block and no product
constexpr std::uint64_t turn_bytes = std::uint64_t{turns} * deep * threads * sizeof(uint4);

constexpr std::uint64_t longest = 2'000'000'000;  // nanoseconds: a holder that nobody stops ends by itself

__device__ std::uint64_t nanoseconds() {
  std::uint64_t now = 0;
  asm volatile("mov.u64 %0, %globaltimer;" : "=l"(now));
  return now;
}

/// What the kernel and those who ask it share.
struct Signals {
  int stop, in_place;
};

/// A mark: bytes copied by then, and when.
struct Mark {
  std::uint64_t bytes, nanoseconds;
};

__global__ void __launch_bounds__(threads, 1)
    hold(volatile Signals* signals, volatile std::uint64_t* progress, const uint4* data, uint4* target) {
  __shared__ int over;
  constexpr int length = block_bytes / sizeof(uint4);
  if (threadIdx.x == 0) {
    atomicAdd(const_cast<int*>(&signals->in_place), 1);
    over = 0;
  }
  const uint4* from = data + static_cast<std::size_t>(blockIdx.x) * length;
  uint4* to = target + static_cast<std::size_t>(blockIdx.x) * length;
  int place = threadIdx.x;
  std::uint64_t done = 0;
  const std::uint64_t start = nanoseconds();
  while (true) {
    __syncthreads();
    if (threadIdx.x == 0) {
      progress[blockIdx.x] = done;
      over = signals->stop != 0 || nanoseconds() - start > longest;
    }
    __syncthreads();
    if (over != 0) return;
    uint4 held[deep];
    for (int turn = 0; turn < turns; ++turn) {
#pragma unroll
      for (int v = 0; v < deep; ++v) held[v] = __ldcs(from + (place + v * threads) % length);
#pragma unroll
      for (int v = 0; v < deep; ++v) __stcs(to + (place + v * threads) % length, held[v]);
      place = (place + deep * threads) % length;
    }
    done += turn_bytes;
  }
}

__global__ void wait_until(volatile const Signals* signals, int count) {
  const std::uint64_t start = nanoseconds();
  while (signals->in_place < count && nanoseconds() - start < longest) __nanosleep(100);
}

__global__ void raise(volatile Signals* signals) { signals->stop = 1; }

/// One block of as many threads as there may be holding blocks.
__global__ void remember(volatile const std::uint64_t* progress, Mark* mark) {
  __shared__ unsigned long long sum;
  if (threadIdx.x == 0) sum = 0;
  __syncthreads();
  atomicAdd(&sum, static_cast<unsigned long long>(progress[threadIdx.x]));
  __syncthreads();
  if (threadIdx.x == 0) *mark = {sum, nanoseconds()};
}

__global__ void nothing() {}

__global__ void run_for(std::uint64_t span) {
  const std::uint64_t start = nanoseconds();
  while (nanoseconds() - start < span) __nanosleep(200);
}

}  // namespace

std::size_t Holder::most_bytes() { return most_blocks * block_bytes; }

Holder::Holder(void* target)
    : flags_(sizeof(Signals)),
      progress_(most_blocks * sizeof(std::uint64_t)),
      marks_(2 * sizeof(Mark)),
      data_(most_bytes() * (target == nullptr ? 2 : 1)),
      target_(target == nullptr ? data_.get<char>() + most_bytes() : target) {
  int least = 0, greatest = 0;
  check(cudaDeviceGetStreamPriorityRange(&least, &greatest), "cudaDeviceGetStreamPriorityRange");
  check(cudaStreamCreateWithPriority(&own_, cudaStreamNonBlocking, greatest), "cudaStreamCreateWithPriority");
  check(cudaEventCreateWithFlags(&ready_, cudaEventDisableTiming), "cudaEventCreateWithFlags");
  check(cudaFuncSetAttribute(hold, cudaFuncAttributeMaxDynamicSharedMemorySize, shared_bytes),
        "cudaFuncSetAttribute");
  check(cudaMemset(data_.get(), 1, data_.size()), "cudaMemset");
  // Code is loaded when a kernel first runs, and loading waits for the device: not while a holder runs.
  check(cudaMemset(flags_.get(), 1, flags_.size()), "cudaMemset");  // stopped, in place
  launch(1);
  wait_until<<<1, 1, 0, own_>>>(flags_.get<Signals>(), 1);
  mark(0, own_);
  stop(own_);
  idle(1e-6, own_);
  check(cudaStreamSynchronize(own_), "cudaStreamSynchronize");
}

Holder::~Holder() {
  static_cast<void>(cudaStreamDestroy(own_));
  static_cast<void>(cudaEventDestroy(ready_));
}

void Holder::launch(int multiprocessors) {
  hold<<<static_cast<unsigned>(multiprocessors), threads, shared_bytes, own_>>>(
      flags_.get<Signals>(), progress_.get<std::uint64_t>(), data_.get<uint4>(),
      static_cast<uint4*>(target_));
  check_launch("hold");
}

void Holder::start(int multiprocessors, cudaStream_t stream) {
  if (multiprocessors <= 0) return;
  if (multiprocessors > most_blocks) throw DeviceError("more multiprocessors to hold than foreseen");
  Signals* signals = flags_.get<Signals>();
  check(cudaStreamSynchronize(own_), "cudaStreamSynchronize");  // the one before has stopped
  check(cudaMemsetAsync(signals, 0, flags_.size(), own_), "cudaMemsetAsync");
  check(cudaMemsetAsync(progress_.get(), 0, progress_.size(), own_), "cudaMemsetAsync");
  check(cudaEventRecord(ready_, own_), "cudaEventRecord");
  check(cudaStreamWaitEvent(stream, ready_), "cudaStreamWaitEvent");
  launch(multiprocessors);
  wait_until<<<1, 1, 0, stream>>>(signals, multiprocessors);
  check_launch("wait_until");
}

void Holder::stop(cudaStream_t stream) {
  raise<<<1, 1, 0, stream>>>(flags_.get<Signals>());
  check_launch("raise");
}

void Holder::mark(int which, cudaStream_t stream) {
  remember<<<1, most_blocks, 0, stream>>>(progress_.get<std::uint64_t>(), marks_.get<Mark>() + which);
  check_launch("remember");
}

double Holder::rate() const {
  Mark marks[2];
  check(cudaMemcpy(marks, marks_.get(), sizeof marks, cudaMemcpyDeviceToHost), "cudaMemcpy");
  return static_cast<double>(marks[1].bytes - marks[0].bytes) /
         (1e-9 * static_cast<double>(marks[1].nanoseconds - marks[0].nanoseconds));
}

void empty_kernel(cudaStream_t stream) {
  nothing<<<1, 32, 0, stream>>>();
  check_launch("nothing");
}

void idle(double seconds, cudaStream_t stream) {
  run_for<<<1, 1, 0, stream>>>(static_cast<std::uint64_t>(seconds * 1e9));
  check_launch("run_for");
}

}  // namespace measure
