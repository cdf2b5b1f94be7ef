// What a launch takes, and copies between host and device.
#include <algorithm>
#include <chrono>

#include "bench.hpp"
#include "hold.hpp"

namespace measure {

LaunchTimes measure_launches(Sampler& sampler) {
  constexpr int count = 200;
  const cudaStream_t stream = sampler.stream();
  LaunchTimes times;
  const auto many = [&](int) {
    for (int i = 0; i < count; ++i) empty_kernel(stream);
  };
  times.stream = sampler.time(many).seconds / count;
  check(cudaStreamSynchronize(stream), "cudaStreamSynchronize");
  const auto before = std::chrono::steady_clock::now();
  many(0);
  times.host = std::chrono::duration<double>(std::chrono::steady_clock::now() - before).count() / count;
  cudaGraph_t graph{};
  cudaGraphExec_t ready{};
  check(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "cudaStreamBeginCapture");
  many(0);
  check(cudaStreamEndCapture(stream, &graph), "cudaStreamEndCapture");
  check(cudaGraphInstantiate(&ready, graph, 0), "cudaGraphInstantiate");
  times.graph =
      sampler.time([&](int) { check(cudaGraphLaunch(ready, stream), "cudaGraphLaunch"); }).seconds / count;
  check(cudaGraphExecDestroy(ready), "cudaGraphExecDestroy");
  check(cudaGraphDestroy(graph), "cudaGraphDestroy");
  return times;
}

std::vector<HostCopy> measure_host_copies(cudaStream_t stream, bool quick) {
  std::vector<HostCopy> copies;
  const std::size_t most = std::size_t{quick ? 16u : 256u} << 20;
  void* host = nullptr;
  check(cudaMallocHost(&host, most), "cudaMallocHost");
  const Buffer device(most);
  const auto seconds = [&](void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind) {
    double best = 1e9;
    for (int i = 0; i < 7; ++i) {
      check(cudaStreamSynchronize(stream), "cudaStreamSynchronize");
      const auto start = std::chrono::steady_clock::now();
      check(cudaMemcpyAsync(to, from, bytes, kind, stream), "cudaMemcpyAsync");
      check(cudaStreamSynchronize(stream), "cudaStreamSynchronize");
      best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
    }
    return best;
  };
  for (std::size_t bytes = 4096; bytes <= most; bytes *= 16)
    copies.push_back({bytes, seconds(device.get(), host, bytes, cudaMemcpyHostToDevice),
                      seconds(host, device.get(), bytes, cudaMemcpyDeviceToHost)});
  check(cudaFreeHost(host), "cudaFreeHost");
  return copies;
}

}  // namespace measure
