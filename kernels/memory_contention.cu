// How much slower memory-bound kernels get while a communication-like kernel holds some multiprocessors.
//
//   nvcc -O3 -arch=native kernels/memory_contention.cu -o memory_contention && ./memory_contention
//
// The holder occupies N multiprocessors (one block each, all of their shared memory) and copies between two buffers
// all the time, paced to the traffic of an expert exchange or unpaced. Beside it a streaming kernel reads and writes
// `bytes`; its median over 50 runs is printed as JSON, with the time alone and the ratio. One thread polls the stop
// flag in device memory, so that polling itself slows nothing.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <vector>

namespace {

void check(cudaError_t error, const char* call, int line) {
  if (error == cudaSuccess) return;
  std::fprintf(stderr, "error: %s, line %d: %s\n", call, line, cudaGetErrorString(error));
  std::exit(1);
}
#define CHECK(call) check(call, #call, __LINE__)

__global__ void fill(uint4* data, size_t count) {
  for (size_t i = blockIdx.x * blockDim.x + threadIdx.x; i < count; i += size_t(gridDim.x) * blockDim.x) {
    const unsigned x = static_cast<unsigned>(i * 2654435761u);
    data[i] = {x, x ^ 0x9e3779b9u, x * 7u, x + 1u};
  }
}

/// Copies until told to stop; `pause` clock ticks between chunks of 64 KiB pace it.
__global__ void hold(const uint4* from, uint4* to, size_t count, long long pause, volatile int* stop, int* running,
                     unsigned long long* copied) {
  extern __shared__ char shared[];
  __shared__ int done;
  if (threadIdx.x == 0) atomicAdd(running, 1);
  const size_t chunk = 4096;
  size_t at = (size_t(blockIdx.x) * 1048583u) % count;
  unsigned long long bytes = 0;
  while (true) {
    if (threadIdx.x == 0) done = *stop;
    __syncthreads();
    if (done) break;
    for (size_t i = threadIdx.x; i < chunk; i += blockDim.x) to[(at + i) % count] = from[(at + i) % count];
    at = (at + chunk * gridDim.x) % count;
    bytes += chunk * sizeof(uint4);
    const long long since = clock64();
    while (clock64() - since < pause) {
    }
    __syncthreads();
  }
  if (threadIdx.x == 0) atomicAdd(copied, bytes);
  if (count == 0) shared[0] = 1;
}

__global__ void stream(const uint4* __restrict__ from, uint4* __restrict__ to, size_t count) {
  const size_t i = size_t(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i < count) {
    uint4 v = from[i];
    v.x += 1;
    to[i] = v;
  }
}

float median_stream(const uint4* from, uint4* to, size_t count, size_t sets, cudaStream_t queue) {
  std::vector<float> times;
  cudaEvent_t begin, end;
  CHECK(cudaEventCreate(&begin));
  CHECK(cudaEventCreate(&end));
  for (int run = 0; run < 60; ++run) {
    const size_t offset = (run % sets) * count;  // rotate over buffers: no run finds its data in the cache
    CHECK(cudaEventRecord(begin, queue));
    stream<<<static_cast<unsigned>((count + 255) / 256), 256, 0, queue>>>(from + offset, to + offset, count);
    CHECK(cudaEventRecord(end, queue));
    CHECK(cudaEventSynchronize(end));
    float ms = 0;
    CHECK(cudaEventElapsedTime(&ms, begin, end));
    if (run >= 10) times.push_back(ms);
  }
  std::sort(times.begin(), times.end());
  return times[times.size() / 2];
}

}  // namespace

int main() {
  cudaDeviceProp device;
  CHECK(cudaGetDeviceProperties(&device, 0));
  const size_t most = size_t(512) << 20;  // bytes read by one run, at most
  const size_t sets = 4;
  uint4 *from, *to, *comm_from, *comm_to;
  CHECK(cudaMalloc(&from, most * sets));
  CHECK(cudaMalloc(&to, most * sets));
  const size_t comm = (size_t(256) << 20) / sizeof(uint4);
  CHECK(cudaMalloc(&comm_from, comm * sizeof(uint4)));
  CHECK(cudaMalloc(&comm_to, comm * sizeof(uint4)));
  fill<<<1024, 256>>>(from, most * sets / sizeof(uint4));
  fill<<<1024, 256>>>(comm_from, comm);
  int *stop, *running;
  unsigned long long* copied;
  CHECK(cudaMalloc(&stop, sizeof(int)));
  CHECK(cudaMalloc(&running, sizeof(int)));
  CHECK(cudaMalloc(&copied, sizeof *copied));
  CHECK(cudaFuncSetAttribute(hold, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(device.sharedMemPerBlockOptin)-1024));
  cudaStream_t holder, queue, control;
  CHECK(cudaStreamCreateWithFlags(&holder, cudaStreamNonBlocking));
  CHECK(cudaStreamCreateWithFlags(&queue, cudaStreamNonBlocking));
  CHECK(cudaStreamCreateWithFlags(&control, cudaStreamNonBlocking));
  CHECK(cudaDeviceSynchronize());
  std::printf("{\"device\": \"%s\", \"multiprocessors\": %d, \"results\": [\n", device.name, device.multiProcessorCount);
  bool first = true;
  for (const size_t bytes : {size_t(16) << 20, size_t(64) << 20, size_t(256) << 20, most}) {
    const size_t count = bytes / sizeof(uint4);
    const float alone = median_stream(from, to, count, sets, queue);
    for (const int sms : {4, 8, 20, 32, 64}) {
      for (const long long pause : {0LL, 20000LL, 10000000LL}) {
        CHECK(cudaMemset(stop, 0, sizeof(int)));
        CHECK(cudaMemset(running, 0, sizeof(int)));
        CHECK(cudaMemset(copied, 0, sizeof *copied));
        CHECK(cudaDeviceSynchronize());
        cudaEvent_t begin, end;
        CHECK(cudaEventCreate(&begin));
        CHECK(cudaEventCreate(&end));
        CHECK(cudaEventRecord(begin, holder));
        hold<<<sms, 512, device.sharedMemPerBlockOptin - 1024, holder>>>(comm_from, comm_to, comm, pause, stop, running, copied);
        CHECK(cudaEventRecord(end, holder));
        for (int seen = 0; seen < sms;) {
          CHECK(cudaMemcpyAsync(&seen, running, sizeof seen, cudaMemcpyDeviceToHost, control));
          CHECK(cudaStreamSynchronize(control));
        }
        const float beside = median_stream(from, to, count, sets, queue);
        const int one = 1;
        CHECK(cudaMemcpyAsync(stop, &one, sizeof one, cudaMemcpyHostToDevice, control));
        CHECK(cudaDeviceSynchronize());
        float held = 0;
        CHECK(cudaEventElapsedTime(&held, begin, end));
        unsigned long long moved = 0;
        CHECK(cudaMemcpy(&moved, copied, sizeof moved, cudaMemcpyDeviceToHost));
        std::printf("%s{\"bytes\": %zu, \"sms\": %d, \"pause\": %lld, \"holder_GBps\": %.1f, \"alone_us\": %.2f, \"beside_us\": %.2f, \"ratio\": %.4f}",
                    first ? "" : ",\n", 2 * bytes, sms, pause, 2.0 * moved / held / 1e6, alone * 1e3, beside * 1e3, beside / alone);
        first = false;
      }
    }
  }
  std::printf("\n]}\n");
  return 0;
}
