// The numbers of the physical model that fit a device's measurements best; what its data sheet says stays.
#pragma once

#include <string>
#include <vector>

#include "models/cost/calibration.hpp"

namespace moesim {

/// Memory, products and attention of `device`, as `cost` uses them, by what is in the grid.
void fit_physics(const Cost& cost, Device& device, const std::vector<Measured>& grid);

/// An op that ran beside communication.
struct MeasuredBeside {
  Op op;
  double seconds = 0, alone_seconds = 0;  ///< 0: not measured alone
  std::int64_t communication_sms = 0;     ///< of NCCL 0: as many as it takes
  double communication = 1;               ///< its time over that beside nothing
  std::string with = "memory";            ///< an own kernel's "memory" or "peer", or NCCL's collective
  double alone_round_seconds = 0;         ///< of a collective beside nothing
  std::int64_t bytes = 0;                 ///< of a collective
  bool urgent = false;                    ///< whether its stream goes first
  bool is_nccl() const { return with != "memory" && with != "peer"; }
};

/// The curves of `device`: for each class and number of multiprocessors held, the slowdown with which half
/// the ops come out too slow, and the median of communication's.
///
/// Those of own kernels by what they wrote to peers, or else within memory. Those of NCCL by its largest
/// buffers as frameworks run it, in a usual stream with as many multiprocessors as it takes: one point, at
/// the number with which its collectives alone take as long as those. Smaller buffers beside longer kernels
/// tell how long it waits for a multiprocessor, not how fast it goes.
void fit_contention(const Cost& cost, Device& device, const std::vector<MeasuredBeside>& measured);

}  // namespace moesim
