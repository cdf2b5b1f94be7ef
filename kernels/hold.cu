#include "hold.hpp"

namespace measure {
namespace {

constexpr std::size_t block_bytes = std::size_t{8} << 20;
constexpr int most_blocks = 128;
constexpr int shared_bytes = 200 * 1024;  // so that a multiprocessor has room for one block and nothing else

constexpr std::uint64_t longest = 2'000'000'000;  // nanoseconds: a holder that nobody stops ends by itself

__device__ std::uint64_t nanoseconds() {
  std::uint64_t now = 0;
  asm volatile("mov.u64 %0, %globaltimer;" : "=l"(now));
  return now;
}

__global__ void __launch_bounds__(512, 1) hold(volatile int* stop, int* in_place, uint4* data) {
  __shared__ int over;
  if (threadIdx.x == 0) {
    atomicAdd(in_place, 1);
    over = 0;
  }
  uint4* from = data + blockIdx.x * (block_bytes / sizeof(uint4));
  const int half = block_bytes / sizeof(uint4) / 2;
  int place = threadIdx.x;
  const std::uint64_t start = nanoseconds();
  while (true) {
    __syncthreads();
    if (threadIdx.x == 0) over = *stop != 0 || nanoseconds() - start > longest;
    __syncthreads();
    if (over != 0) return;
    uint4 held[8];
    for (int turn = 0; turn < 4; ++turn) {
#pragma unroll
      for (int v = 0; v < 8; ++v) held[v] = __ldcs(from + (place + v * 512) % half);
#pragma unroll
      for (int v = 0; v < 8; ++v) __stcs(from + half + (place + v * 512) % half, held[v]);
      place = (place + 8 * 512) % half;
    }
  }
}

__global__ void wait_until(volatile int* in_place, int count) {
  const std::uint64_t start = nanoseconds();
  while (*in_place < count && nanoseconds() - start < longest) __nanosleep(100);
}

__global__ void raise(volatile int* stop) { *stop = 1; }
__global__ void nothing() {}

}  // namespace

Holder::Holder() : flags_(2 * sizeof(int)), data_(most_blocks * block_bytes) {
  int least = 0, greatest = 0;
  check(cudaDeviceGetStreamPriorityRange(&least, &greatest), "cudaDeviceGetStreamPriorityRange");
  check(cudaStreamCreateWithPriority(&own_, cudaStreamNonBlocking, greatest), "cudaStreamCreateWithPriority");
  check(cudaEventCreateWithFlags(&ready_, cudaEventDisableTiming), "cudaEventCreateWithFlags");
  check(cudaFuncSetAttribute(hold, cudaFuncAttributeMaxDynamicSharedMemorySize, shared_bytes),
        "cudaFuncSetAttribute");
  check(cudaMemset(data_.get(), 1, data_.size()), "cudaMemset");
  // Code is loaded when a kernel first runs, and loading waits for the device: not while a holder runs.
  int* flags = flags_.get<int>();
  check(cudaMemset(flags, 1, flags_.size()), "cudaMemset");
  hold<<<1, 512, shared_bytes, own_>>>(flags, flags + 1, data_.get<uint4>());
  wait_until<<<1, 1, 0, own_>>>(flags + 1, 1);
  raise<<<1, 1, 0, own_>>>(flags);
  check_launch("hold");
  check(cudaStreamSynchronize(own_), "cudaStreamSynchronize");
}

Holder::~Holder() {
  static_cast<void>(cudaStreamDestroy(own_));
  static_cast<void>(cudaEventDestroy(ready_));
}

void Holder::start(int multiprocessors, cudaStream_t stream) {
  if (multiprocessors <= 0) return;
  if (multiprocessors > most_blocks) throw DeviceError("more multiprocessors to hold than foreseen");
  int* flags = flags_.get<int>();
  check(cudaStreamSynchronize(own_), "cudaStreamSynchronize");  // the one before has stopped
  check(cudaMemsetAsync(flags, 0, flags_.size(), own_), "cudaMemsetAsync");
  check(cudaEventRecord(ready_, own_), "cudaEventRecord");
  check(cudaStreamWaitEvent(stream, ready_), "cudaStreamWaitEvent");
  hold<<<static_cast<unsigned>(multiprocessors), 512, shared_bytes, own_>>>(flags, flags + 1,
                                                                            data_.get<uint4>());
  check_launch("hold");
  wait_until<<<1, 1, 0, stream>>>(flags + 1, multiprocessors);
  check_launch("wait_until");
}

void Holder::stop(cudaStream_t stream) {
  raise<<<1, 1, 0, stream>>>(flags_.get<int>());
  check_launch("raise");
}

void empty_kernel(cudaStream_t stream) {
  nothing<<<1, 32, 0, stream>>>();
  check_launch("nothing");
}

}  // namespace measure
