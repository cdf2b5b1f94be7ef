#include "models/cost/relative_times.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <tuple>

namespace moesim {
namespace {

/// What tells one measured shape from another.
auto key_of(const Op& op) {
  return std::tuple(op.kind, op.pass, op.precision, op.m, op.n, op.k, op.rows, op.batch, op.heads,
                    op.kv_heads, op.sequence, op.head_dim, op.value_head_dim, op.causal, op.top_k,
                    op.bytes.count);
}

double middle_of(std::vector<double> values) {
  if (values.empty()) return 0;
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

}  // namespace

std::vector<double> relative_times(const std::vector<Calibration>& devices) {
  if (devices.empty()) return {};
  std::map<decltype(key_of(Op{})), double> first;
  for (const Measured& measured : devices.front().grid) first.emplace(key_of(measured.op), measured.seconds);
  std::vector<double> slowness;
  for (const Calibration& device : devices) {
    std::vector<double> logarithms;
    for (const Measured& measured : device.grid) {
      const auto same = first.find(key_of(measured.op));
      if (same != first.end()) logarithms.push_back(std::log(measured.seconds / same->second));
    }
    slowness.push_back(middle_of(logarithms));
  }
  const double middle = middle_of(slowness);
  for (double& value : slowness) value = std::expm1(value - middle);
  return slowness;
}

}  // namespace moesim
