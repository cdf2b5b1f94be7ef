// The numbers of the physical model that fit a device's measurements best; what its data sheet says stays.
#pragma once

#include <vector>

#include "models/cost/calibration.hpp"

namespace moesim {

/// Memory, products and attention of `device`, as `cost` uses them, by what is in the grid.
void fit_physics(const Cost& cost, Device& device, const std::vector<Measured>& grid);

/// An op that ran beside communication.
struct MeasuredBeside {
  Op op;
  double seconds = 0, alone_seconds = 0;  ///< 0: not measured alone
  std::int64_t communication_sms = 0;
  double communication = 1;      ///< its time over that beside nothing
  bool between_devices = false;  ///< else its kernel copies within the memory of its device
};

/// The curves of `device`: for each class and number of multiprocessors held, the slowdown with which half
/// the ops come out too slow, and the median of communication's. Where communication between devices was
/// measured, by that alone.
void fit_contention(const Cost& cost, Device& device, std::vector<MeasuredBeside> measured);

}  // namespace moesim
