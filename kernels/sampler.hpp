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
  double clock_mhz = 0;  ///< of a multiprocessor, mean over the samples; 0: not known
  int samples = 0;
};

/// When sampling begins and ends.
struct Patience {
  double warm_seconds = 0.003;
  double sample_seconds = 0.002;  ///< a sample is as many calls as take this long
  /// After each sample the device rests so many times as long: what works hard stays far below the power
  /// limit, and so at the full clock.
  double rest = 2;
  double least_seconds = 0.014;  ///< of samples together
  double most_seconds = 0.05;
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
  Sampler(cudaStream_t stream, const Patience& patience);
  ~Sampler();
  Sampler(const Sampler&) = delete;
  Sampler& operator=(const Sampler&) = delete;

  /// `call(i)` launches call number i.
  Timing time(const std::function<void(int)>& call);
  /// The same where the last measurement left the device warm.
  Timing time_warm(const std::function<void(int)>& call);
  /// A rough time, to choose between ways of doing the same.
  double glance(const std::function<void(int)>& call);
  /// In a loop without rest, at the clock to which that settles.
  Timing time_in_loop(const std::function<void(int)>& call);
  /// Notes a multiprocessor's cycles and the time at this place of the stream: 0 begins, 1 ends.
  void stamp(int which);
  /// Its mean clock between the two stamps, which the stream has passed; 0 where they are of two.
  double stamped_mhz() const;
  /// The stream rests.
  void pause(double seconds);
  cudaStream_t stream() const { return stream_; }
  const Patience& patience() const { return patience_; }

 private:
  Timing time(const std::function<void(int)>& call, double warm_seconds, double rest);
  double sample(const std::function<void(int)>& call, int calls, double wait_seconds);
  /// Seconds that the host takes to launch one call.
  double launch_cost(const std::function<void(int)>& call);

  cudaStream_t stream_;
  Patience patience_;
  cudaEvent_t start_{}, stop_{};
  Buffer stamps_;
  int calls_ = 0;
};

}  // namespace measure
