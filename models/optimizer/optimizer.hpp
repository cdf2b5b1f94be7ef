// How gradients become new parameters: what is held from step to step, and what an update goes over. A member
// returns a plan; time, memory and launches follow from it.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "models/base/precision.hpp"
#include "models/base/units.hpp"
#include "models/config/family.hpp"
#include "models/transformer/op.hpp"

namespace moesim {

/// Parameters that an optimizer treats alike: matrices of layers (their biases too), and all else, which is
/// embedding, head and norms.
enum class Over : std::uint8_t { all, matrices, rest };

/// One step of an update over parameters of a device.
struct UpdatePass {
  std::string_view name;  ///< static text
  Over over = Over::all;
  double bytes = 0;  ///< read and written for each parameter
  UpdateStep step = UpdateStep::whole;
  Walk walk = Walk::fused;
  std::int64_t waits = 0;  ///< of the host, for each tensor
  std::int64_t small = 0;  ///< launches with next to nothing to do, for each tensor
  bool is_copy = false;    ///< of master weights into parameters, where they are apart
};

/// Bytes held from step to step beside parameters in bf16 and their gradients.
struct HeldStates {
  Bytes matrices{}, rest{};  ///< for each parameter
  Bytes factors{};           ///< for each row and column of a matrix, and each element of a vector
  friend bool operator==(const HeldStates&, const HeldStates&) = default;
};

/// Bytes held while an update runs.
struct UpdateWorking {
  Bytes all{};      ///< for each parameter that the device updates
  Bytes largest{};  ///< for each of the largest tensor
};

/// What new parameters take.
struct UpdatePlan {
  HeldStates states;
  UpdateWorking working;
  std::vector<UpdatePass> passes;  ///< one after the other
  Walk walk = Walk::fused;         ///< over matrices of layers
  std::int64_t iterations = 0;     ///< of Newton and Schulz, on each matrix of a layer
  bool has_master = false;         ///< weights in fp32
  bool offloads = false;           ///< states and master weights are on the host but for the update
};

/// What a plan rests on beside the keys of its member.
struct UpdateForm {
  Precision parameter = Precision::bf16;  ///< SoftwareHabits::parameters
  Precision gradient = Precision::fp32;
  Precision moments = Precision::fp32;  ///< where the member's keys say nothing else
  bool casts_inside = true;             ///< SoftwareHabits::casts_in_update
};

/// An optimizer. A family.
class Optimizer {
 public:
  virtual ~Optimizer() = default;
  virtual UpdatePlan plan(const UpdateForm& form) const = 0;
};

/// The members of the family.
Register<Optimizer> optimizers();

}  // namespace moesim
