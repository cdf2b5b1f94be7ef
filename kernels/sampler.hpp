// How one time is measured, after nvbench: warm up, repeat until the median is steady, report its noise.
#pragma once

#include <cuda_runtime.h>

#include <functional>

#include "device.hpp"

namespace measure {

/// A measured time.
struct Timing {
  double seconds = 0;    ///< median of the samples, of one call, the gap to the next kernel included
  double noise = 0;      ///< relative: median absolute deviation, scaled to a standard deviation
  double clock_mhz = 0;  ///< multiprocessors, right after the last sample; 0: not known
  int samples = 0;
};

/// When sampling begins and ends.
struct Patience {
  double warm_seconds = 0.02;
  /// Calls longer than this warm up so many times longer: what works hard reaches its power limit in a tenth
  /// of a second only, and runs at a lower clock from then on.
  double heavy_call = 50e-6, heavy_factor = 4;
  double sample_seconds = 0.003;  ///< a sample is as many calls as take this long
  double least_seconds = 0.025;
  double most_seconds = 0.12;
  double steady = 0.003;  ///< relative standard error of the median that ends it
};

/// Interrupted with Ctrl-C.
struct Interrupted {};
/// Throws Interrupted after a SIGINT or SIGTERM.
void check_interrupt();
/// From now on SIGINT and SIGTERM end the measurement at the next sample.
void watch_interrupts();

/// Measures calls in one stream. Calls of a sample queue up behind a kernel that waits, so that what the host
/// takes to launch does not count.
class Sampler {
 public:
  Sampler(cudaStream_t stream, const Clocks& clocks, const Patience& patience);
  ~Sampler();
  Sampler(const Sampler&) = delete;
  Sampler& operator=(const Sampler&) = delete;

  /// `call(i)` launches call number i.
  Timing time(const std::function<void(int)>& call);
  /// The same where the last measurement left the device warm.
  Timing time_warm(const std::function<void(int)>& call);
  /// A rough time, to choose between ways of doing the same.
  double glance(const std::function<void(int)>& call);
  cudaStream_t stream() const { return stream_; }
  const Patience& patience() const { return patience_; }

 private:
  /// `warm_up`: what share of the usual warm-up.
  Timing time(const std::function<void(int)>& call, double warm_up);
  double sample(const std::function<void(int)>& call, int calls, double wait_seconds);
  /// Seconds that the host takes to launch one call.
  double launch_cost(const std::function<void(int)>& call);

  cudaStream_t stream_;
  const Clocks& clocks_;
  Patience patience_;
  cudaEvent_t start_{}, stop_{};
  int calls_ = 0;
};

}  // namespace measure
