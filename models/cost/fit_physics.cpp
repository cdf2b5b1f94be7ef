#include "models/cost/fit_physics.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <map>
#include <utility>

#include "models/base/at.hpp"
#include "models/cost/descent.hpp"

namespace moesim {
namespace {

using Rows = std::vector<const Measured*>;

double logarithm(const Cost& cost, const Device& device, const Measured& measured) {
  return std::log(to_seconds(cost.time(measured.op, device, 0).time) / measured.seconds);
}

void fit_to(const Cost& cost, const Device& device, const Rows& rows, std::vector<Parameter>& parameters) {
  if (rows.size() < 2 * parameters.size()) return;  // too few to tell anything apart
  const auto loss = [&] {
    MeanError error;
    for (const Measured* row : rows) error.add(logarithm(cost, device, *row));
    return error.value();
  };
  descend(loss, parameters);
}

Rows rows_where(const std::vector<Measured>& grid, const std::function<bool(const Op&)>& holds) {
  Rows rows;
  for (const Measured& measured : grid)
    if (!measured.held_out && holds(measured.op)) rows.push_back(&measured);
  return rows;
}

void fit_products(const Cost& cost, Device& device, const std::vector<Measured>& grid, Precision precision) {
  GemmBehaviour& gemm = at(device.gemm, precision);
  if (gemm.peak.count <= 0) return;
  std::vector<Parameter> parameters = parameters_of(gemm);
  fit_to(
      cost, device,
      rows_where(
          grid,
          [&](const Op& op) {
            return op.kind == OpKind::gemm && op.precision == precision && std::min({op.m, op.n, op.k}) >= 16;
          }),
      parameters);
}

void fit_attention(const Cost& cost, Device& device, const std::vector<Measured>& grid) {
  for (const bool backward : {false, true}) {
    AttentionBehaviour& fused = backward ? device.attention_backward : device.attention_forward;
    std::vector<Parameter> parameters{of_ratio(fused.efficiency, 0.1, 1.08),
                                      of_ratio(fused.score_rate, 1e8, 1e13), of_time(fused.tile_overhead),
                                      of_time(fused.kernel_overhead)};
    fit_to(cost, device,
           rows_where(grid,
                      [&](const Op& op) {
                        return op.kind == OpKind::attention && (op.pass != OpPass::forward) == backward;
                      }),
           parameters);
  }
}

void fit_memory(const Cost& cost, Device& device, const std::vector<Measured>& grid) {
  std::vector<Parameter> parameters{of_ratio(device.memory_efficiency, 0.3, 1), of_time(device.kernel_floor),
                                    of_time(device.memory_ramp)};
  fit_to(cost, device,
         rows_where(grid,
                    [](const Op& op) {
                      return op.flops.count <= 0 && op.kind != OpKind::router && op.kind != OpKind::permute;
                    }),
         parameters);
}

}  // namespace

void fit_physics(const Cost& cost, Device& device, const std::vector<Measured>& grid) {
  fit_memory(cost, device, grid);
  for (const Precision precision : {Precision::bf16, Precision::fp8})
    fit_products(cost, device, grid, precision);
  fit_attention(cost, device, grid);
}

namespace {

/// Of the values, that in the middle.
double middle(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

/// The slowdown, at least that before, with which ops on the fitted device take what they took: what they
/// take over what they take alone, where that is known.
double fitted_slowdown(const Cost& cost, Device& device, Beside beside, double before,
                       const std::vector<MeasuredBeside>& measured) {
  const std::int64_t count = measured.front().communication_sms;
  const auto seconds = [&](const MeasuredBeside& one, std::int64_t sms) {
    return to_seconds(cost.time(one.op, device, sms).time);
  };
  std::vector<double> targets;
  for (const MeasuredBeside& one : measured)
    targets.push_back(one.alone_seconds > 0 ? seconds(one, 0) * one.seconds / one.alone_seconds
                                            : one.seconds);
  constexpr int most_hundredths = 500;
  int hundredths = static_cast<int>(std::lround(100 * before));
  double best = std::numeric_limits<double>::infinity();
  for (int tried = hundredths; tried <= most_hundredths; ++tried) {
    at(device.contention, beside) = {{count, tried / 100.0, 1}};
    double sum = 0;
    for (std::size_t i = 0; i < measured.size(); ++i)
      sum += std::abs(std::log(seconds(measured[i], count) / targets[i]));
    if (sum < best - 1e-9) best = sum, hundredths = tried;
  }
  return hundredths / 100.0;
}

}  // namespace

void fit_contention(const Cost& cost, Device& device, std::vector<MeasuredBeside> measured) {
  const auto is_between = [](const MeasuredBeside& one) { return one.between_devices; };
  if (std::any_of(measured.begin(), measured.end(), is_between))
    std::erase_if(measured, std::not_fn(is_between));
  std::map<std::pair<Beside, std::int64_t>, std::vector<MeasuredBeside>> by_count;
  for (const MeasuredBeside& one : measured)
    if (one.communication_sms > 0 && one.communication_sms < device.multiprocessors)
      by_count[{beside_of(one.op), one.communication_sms}].push_back(one);
  Contention curves;
  for (const auto& [key, all] : by_count) {
    const auto& [beside, count] = key;
    ContentionCurve& curve = at(curves, beside);
    const double before = curve.empty() ? 1 : curve.back().compute;
    std::vector<double> slowed;
    for (const MeasuredBeside& one : all) slowed.push_back(one.communication);
    curve.push_back(
        {count, fitted_slowdown(cost, device, beside, before, all), std::max(1.0, middle(slowed))});
  }
  device.contention = curves;
}

}  // namespace moesim
