#include "models/cost/descent.hpp"

#include <algorithm>
#include <cmath>

namespace moesim {

Parameter of_time(Time& time) {
  return {[&time] { return to_seconds(time); }, [&time](double value) { time = from_seconds(value); }, 1e-9,
          1e-3};
}
Parameter of_rate(Rate& rate) {
  return {[&rate] { return rate.count; }, [&rate](double value) { rate.count = value; }, 1e6, 1e15};
}
Parameter of_ratio(double& ratio, double least, double most) {
  return {[&ratio] { return ratio; }, [&ratio](double value) { ratio = value; }, least, most};
}

std::vector<Parameter> parameters_of(GemmBehaviour& gemm) {
  std::vector<Parameter> parameters{of_ratio(gemm.efficiency, 0.4, 1.08),
                                    of_ratio(gemm.sustained, 0.3, 1.08),
                                    of_rate(gemm.feed),
                                    of_time(gemm.tile_overhead),
                                    of_time(gemm.kernel_overhead),
                                    of_ratio(gemm.unhidden, 1e-3, 1)};
  if (gemm.may_split) parameters.push_back(of_time(gemm.split_overhead));
  return parameters;
}

void descend(const std::function<double()>& loss, std::vector<Parameter>& parameters) {
  double best = loss();
  for (const double step : {1.3, 1.1, 1.03, 1.01}) {
    for (bool moved = true; moved;) {
      moved = false;
      for (Parameter& parameter : parameters) {
        for (const double factor : {step, 1 / step}) {
          const double before = parameter.get();
          parameter.set(std::clamp(before * factor, parameter.least, parameter.most));
          const double found = loss();
          if (found < best - 1e-5) {
            best = found;
            moved = true;
          } else {
            parameter.set(before);
          }
        }
      }
    }
  }
}

void MeanError::add(double logarithm) {
  sum_ += std::min(std::abs(logarithm), 0.5);
  ++count_;
}

double MeanError::value() const { return sum_ / static_cast<double>(std::max<std::size_t>(1, count_)); }

}  // namespace moesim
