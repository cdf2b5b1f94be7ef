// What keeps the loads of experts together while a router is trained.
#pragma once

#include <cstdint>
#include <span>

#include "models/config/family.hpp"

namespace moesim {

/// What a router did in one step, on average over its tokens. Both sum to 1.
struct RoutedStep {
  std::span<const double> popularity;  ///< each expert's mean probability
  std::span<const double> load;        ///< each expert's share of the choices
};

/// A way of balancing. A family. What it knows of an expert is one number, its state, 0 in the first step.
class Balancing {
 public:
  virtual ~Balancing() = default;
  /// The states of all experts after a step.
  virtual void adjust(const RoutedStep& step, std::span<double> states) const = 0;
  /// What the states, `load` being the shares by which they count, add to the logarithm of each expert's
  /// popularity.
  virtual void shift(std::span<const double> states, std::span<const double> load,
                     std::span<double> shifts) const = 0;
  /// Whether states stay as they are, always.
  virtual bool is_none() const { return false; }
};

/// The members of the family.
Register<Balancing> balancings();

}  // namespace moesim
