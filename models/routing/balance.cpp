#include "models/routing/balance.hpp"

#include <algorithm>
#include <numeric>

#include "models/base/error.hpp"

namespace moesim {

double max_over_mean(std::span<const double> load) {
  const double sum = std::accumulate(load.begin(), load.end(), 0.0);
  ensure(sum > 0, "there is some load");
  return *std::max_element(load.begin(), load.end()) * static_cast<double>(load.size()) / sum;
}

double balancing_loss(std::span<const double> load) {
  const double sum = std::accumulate(load.begin(), load.end(), 0.0);
  ensure(sum > 0, "there is some load");
  double squares = 0;
  for (const double one : load) squares += one / sum * (one / sum);
  return static_cast<double>(load.size()) * squares;
}

double balance_between(double natural, double wanted) {
  ensure(wanted >= 1 && wanted <= natural, "balance takes load max over mean towards 1");
  return natural > 1 ? 1 - (wanted - 1) / (natural - 1) : 0;
}

}  // namespace moesim
