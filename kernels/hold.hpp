// A kernel that communicates: it holds multiprocessors while others compute, and tells how far it has come.
#pragma once

#include "device.hpp"

namespace measure {

/// Copies in an urgent stream of its own on a number of multiprocessors, one block each, until told to stop:
/// within the memory of its device, or to that of another. One thread polls the flag, in device memory:
/// polling by all, or in the host's memory, slows everything down by itself.
class Holder {
 public:
  /// On the current device. `target`: memory of another device that this one maps, most_bytes() long;
  /// nullptr: its own memory.
  explicit Holder(void* target = nullptr);
  ~Holder();
  Holder(const Holder&) = delete;
  Holder& operator=(const Holder&) = delete;
  static std::size_t most_bytes();
  /// Starts; work launched in `stream` afterwards runs when all blocks are in place.
  void start(int multiprocessors, cudaStream_t stream);
  /// Stops when what was launched in `stream` before is done.
  void stop(cudaStream_t stream);
  /// Remembers, in the order of `stream`, how much has been copied and when; `which` is 0 or 1.
  void mark(int which, cudaStream_t stream);
  /// Bytes a second between the two marks.
  double rate() const;

 private:
  void launch(int multiprocessors);

  cudaStream_t own_{};
  cudaEvent_t ready_{};
  Buffer flags_;  ///< stop, blocks in place
  Buffer progress_, marks_;
  Buffer data_;
  void* target_;
};

/// A kernel that does nothing.
void empty_kernel(cudaStream_t stream);
/// A kernel of one thread that runs so long.
void idle(double seconds, cudaStream_t stream);

}  // namespace measure
