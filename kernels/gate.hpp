// Streams of all devices wait until the host lets them go.
#pragma once

#include <cuda_runtime.h>

namespace measure {

class Gate {
 public:
  Gate();
  ~Gate();
  Gate(const Gate&) = delete;
  Gate& operator=(const Gate&) = delete;
  void close() const { *flag_ = 0; }
  void open() const { *flag_ = 1; }
  /// What is launched in `stream` of the current device afterwards waits while the gate is closed; one that
  /// nobody opens opens by itself after two seconds.
  void hold(cudaStream_t stream) const;

 private:
  volatile int* flag_ = nullptr;  ///< in the host's memory
};

}  // namespace measure
