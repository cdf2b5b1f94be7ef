#include "sim/estimate/split.hpp"

#include <algorithm>
#include <numeric>

#include "models/base/error.hpp"

namespace moesim {
namespace {

/// Stages needed for the layers from each one to the end, none above `cap`. False where one layer alone is
/// above it.
bool count_stages(const std::vector<double>& weights, double cap, std::vector<std::int64_t>& needed) {
  needed.assign(weights.size() + 1, 0);
  std::size_t end = weights.size();
  double sum = 0;
  for (std::size_t begin = weights.size(); begin-- > 0;) {
    sum += weights[begin];
    while (sum > cap && end > begin) sum -= weights[--end];
    if (end == begin) return false;
    needed[begin] = needed[end] + 1;
  }
  return true;
}

}  // namespace

std::vector<std::int64_t> split_layers(const std::vector<double>& seconds_of_layer, double embedding,
                                       double head, std::int64_t stages) {
  std::vector<double> weights = seconds_of_layer;
  weights.front() += embedding;
  weights.back() += head;
  const double all = std::accumulate(weights.begin(), weights.end(), 0.0);
  const double most = *std::max_element(weights.begin(), weights.end());
  double low = std::max(most, all / static_cast<double>(stages)) * (1 - 1e-9);
  double high = all / static_cast<double>(stages) + most;  // enough, whatever the order
  std::vector<std::int64_t> needed;
  while (high - low > 1e-4 * low) {
    const double middle = (low + high) / 2;
    const bool fits = count_stages(weights, middle, needed) && needed.front() <= stages;
    (fits ? high : low) = middle;
  }
  const double cap = high * (1 + 1e-9);
  ensure(count_stages(weights, cap, needed), "the slowest stage holds any layer");
  std::vector<std::int64_t> split;
  double rest = all;
  std::size_t next = 0;
  for (std::int64_t left = stages; left > 0; --left) {
    const double even = rest / static_cast<double>(left);
    double sum = 0;
    const std::size_t begin = next;
    const auto more_to_come = [&] { return static_cast<std::int64_t>(weights.size() - next) > left - 1; };
    while (next < weights.size() && more_to_come() &&
           (next == begin || needed[next] > left - 1 ||
            (sum + weights[next] / 2 <= even && sum + weights[next] <= cap)))
      sum += weights[next++];
    rest -= sum;
    split.push_back(static_cast<std::int64_t>(next - begin));
  }
  return split;
}

std::vector<std::int64_t> fill_layers(std::int64_t layers, std::int64_t stages, bool may_be_empty) {
  const std::int64_t each = (layers + stages - 1) / stages;
  std::vector<std::int64_t> split;
  for (std::int64_t left = layers; static_cast<std::int64_t>(split.size()) < stages; left -= split.back()) {
    const std::int64_t after = stages - static_cast<std::int64_t>(split.size()) - 1;
    split.push_back(std::min(may_be_empty ? left : left - after, each));
  }
  return split;
}

}  // namespace moesim
