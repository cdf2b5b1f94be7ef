// What failures, checkpoints and restarts leave of a long run.
#pragma once

#include <cstdint>
#include <optional>

#include "models/base/units.hpp"
#include "sim/scenario/faults.hpp"

namespace moesim {

/// Goodput is the share of the wall clock that goes into steps whose results are kept.
struct GoodputReport {
  double simulated = 0;
  double working = 0;              ///< share of it in which steps run, kept or not
  std::int64_t failures = 0;       ///< in the simulated run
  std::int64_t steps_between = 1;  ///< from one checkpoint to the next
  Time interval{};                 ///< of work from one to the next
  WallClock run{};
  /// Where failures are random, seconds between two of the run, goodput by Daly's model, and the intervals
  /// that Young and Daly recommend with Daly's goodput there.
  double mean_between_s = 0, expected = 0;
  double young_s = 0, daly_s = 0, expected_at_young = 0, expected_at_daly = 0;
};

/// Runs failures, checkpoints and restarts one after the other, by drawn or given times, for steps of that
/// length; the formulas beside it.
GoodputReport goodput_of(const Failures& failures, std::uint64_t seed, std::int64_t devices, Time step);

/// Goodput of work in segments of `interval`, each followed by a checkpoint, where failures come at random
/// with that mean time between them, during checkpoints and restarts too: Daly, A higher order estimate of
/// the optimum checkpoint interval for restart dumps, FGCS 22 (2006): wall clock over work = M e^(R/M) (e^((t
/// + d)/M)
/// - 1) / t. Its limit, e^(-R/M), where neither work nor a checkpoint takes time. All in seconds.
double daly_goodput(double interval, double checkpoint, double restart, double mean_between);

}  // namespace moesim
