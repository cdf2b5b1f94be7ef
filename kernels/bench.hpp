// Runs shapes and collects what they took.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "attention.hpp"
#include "grouped.hpp"
#include "hold.hpp"
#include "sampler.hpp"

namespace measure {

/// One line of the measurements.
struct Record {
  Shape shape;
  Timing timing;
  std::string method;                           ///< which library or kernel was fastest
  int communication_sms = -1;                   ///< multiprocessors held meanwhile; -1: not asked
  bool told = false;                            ///< whether the library was told how many are left
  double library_seconds = 0, own_seconds = 0;  ///< grouped products: the best of each; 0: not offered
  bool slower_is_rough = false;                 ///< the slower of the two was looked at in passing only
  bool held_out = false;                        ///< off the grid: for judging the fit, never for fitting
};

/// Everything on one device that measurements share.
class Bench {
 public:
  Bench(const DeviceFacts& facts, const Patience& patience, bool quick);
  /// One record a shape; nothing where the shape does not fit or no library offers it: then a note says so.
  void measure(const Shape& shape, bool held_out = false);
  /// Products while multiprocessors are held.
  void measure_contention(const Shape& shape, int multiprocessors, bool told);
  const std::vector<Record>& records() const { return records_; }
  const std::vector<std::string>& notes() const { return notes_; }
  void note(const std::string& text);
  const Libraries& libraries() const { return libraries_; }
  const AttentionLibrary* attention() const { return attention_.get(); }
  Sampler& sampler() { return sampler_; }
  cudaStream_t stream() const { return stream_.get(); }
  const Clocks& clocks() const { return clocks_; }
  const DeviceFacts& facts() const { return facts_; }

 private:
  struct Stream {
    Stream() { check(cudaStreamCreateWithFlags(&raw, cudaStreamNonBlocking), "cudaStreamCreateWithFlags"); }
    ~Stream() { static_cast<void>(cudaStreamDestroy(raw)); }
    cudaStream_t get() const { return raw; }
    cudaStream_t raw{};
  };
  void add(const Shape& shape, const Timing& timing, const std::string& method);
  void run_gemm(const Shape& shape, int held, bool told);
  struct Grouped;
  void run_grouped(const Shape& shape, int held);
  void run_attention(const Shape& shape);
  void run_streaming(const Shape& shape);
  void run_copy(const Shape& shape);
  Timing timed(const std::function<void(int)>& call, int held);

  DeviceFacts facts_;
  bool quick_;
  Clocks clocks_;
  Stream stream_;
  Sampler sampler_;
  Libraries libraries_;
  std::unique_ptr<AttentionLibrary> attention_;
  Buffer inputs_, weights_, outputs_, fp8_;
  std::optional<Holder> holder_;  ///< made when first needed
  std::vector<Record> records_;
  std::vector<std::string> notes_;
};

/// Launch overhead: seconds between empty kernels of a stream, between those of a graph, and of a launch on
/// the host.
struct LaunchTimes {
  double stream = 0, graph = 0, host = 0;
};
LaunchTimes measure_launches(Sampler& sampler);

/// Bytes a second between host and device memory, both directions, by size.
struct HostCopy {
  std::size_t bytes = 0;
  double to_device = 0, to_host = 0;  ///< seconds
};
std::vector<HostCopy> measure_host_copies(cudaStream_t stream, bool quick);

}  // namespace measure
