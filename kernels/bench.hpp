// Runs shapes and collects what they took.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "attention.hpp"
#include "grouped.hpp"
#include "sampler.hpp"

namespace measure {

/// One line of the measurements.
struct Record {
  Shape shape;
  Timing timing;
  std::string method;                           ///< which library or kernel was fastest
  double library_seconds = 0, own_seconds = 0;  ///< grouped products: the best of each; 0: not offered
  bool slower_is_rough = false;                 ///< the slower of the two was looked at in passing only
  bool held_out = false;                        ///< off the grid: for judging the fit, never for fitting
};

/// One way of computing a shape: `call(i)` launches call number i in the bench's stream.
struct Prepared {
  std::function<void(int)> call;
  std::string method;
};

/// Everything on one device that measurements share.
class Bench {
 public:
  Bench(const DeviceFacts& facts, const Patience& patience, bool quick);
  /// One record a shape; nothing where the shape does not fit or no library offers it: then a note says so.
  void measure(const Shape& shape, bool held_out = false);
  /// The fastest way of computing a shape, with operands that leave the cache between calls. Throws
  /// OutOfMemory and NotOffered. Lives no longer than the bench.
  Prepared prepared(const Shape& shape);
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
  Prepared prepared_gemm(const Shape& shape) const;
  struct Grouped;
  struct Contenders;
  Contenders contenders(const Shape& shape);
  void run_grouped(const Shape& shape);
  Prepared prepared_attention(const Shape& shape) const;
  Prepared prepared_streaming(const Shape& shape) const;
  Prepared prepared_copy(const Shape& shape) const;
  void run_copy(const Shape& shape);

  DeviceFacts facts_;
  bool quick_;
  Clocks clocks_;
  Stream stream_;
  Sampler sampler_;
  Libraries libraries_;
  std::unique_ptr<AttentionLibrary> attention_;
  Buffer inputs_, weights_, outputs_, fp8_;
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
