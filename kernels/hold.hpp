// Kernels that hold multiprocessors while others compute, as communication does.
#pragma once

#include "device.hpp"

namespace measure {

/// Copies in a stream of its own on a number of multiprocessors, one block each, until told to stop. One
/// thread polls the flag, in device memory: polling by all, or in the host's memory, slows everything down by
/// itself.
class Holder {
 public:
  Holder();
  ~Holder();
  Holder(const Holder&) = delete;
  Holder& operator=(const Holder&) = delete;
  /// Starts; work launched in `stream` afterwards runs when all blocks are in place.
  void start(int multiprocessors, cudaStream_t stream);
  /// Stops when what was launched in `stream` before is done.
  void stop(cudaStream_t stream);

 private:
  cudaStream_t own_{};
  cudaEvent_t ready_{};
  Buffer flags_;  ///< stop, blocks in place
  Buffer data_;
};

/// A kernel that does nothing.
void empty_kernel(cudaStream_t stream);

}  // namespace measure
