// Fits numbers to measurements one after the other: coordinate descent on a loss without gradient.
#pragma once

#include <functional>
#include <vector>

#include "models/cluster/device.hpp"

namespace moesim {

/// A number that is fitted, within bounds that physics sets.
struct Parameter {
  std::function<double()> get;
  std::function<void(double)> set;
  double least = 0, most = 1e30;
};

Parameter of_time(Time& time);
Parameter of_rate(Rate& rate);
Parameter of_ratio(double& ratio, double least, double most);
/// What is fitted of the kernels of matrix products, those that split the depth included.
std::vector<Parameter> parameters_of(GemmBehaviour& gemm);

/// Moves one parameter after the other until no step of 1 % helps.
void descend(const std::function<double()>& loss, std::vector<Parameter>& parameters);

/// The mean error of logarithms; beyond half it counts no more, so that odd shapes do not pull.
class MeanError {
 public:
  void add(double logarithm);
  double value() const;

 private:
  double sum_ = 0;
  std::size_t count_ = 0;
};

}  // namespace moesim
