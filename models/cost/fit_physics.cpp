#include "models/cost/fit_physics.hpp"

#include <algorithm>
#include <cmath>

#include "models/base/at.hpp"
#include "models/cost/descent.hpp"

namespace moesim {
namespace {

using Rows = std::vector<const Measured*>;

double logarithm(const Cost& cost, const Device& device, const Measured& measured, std::int64_t sms = 0) {
  return std::log(to_seconds(cost.time(measured.op, device, sms).time) / measured.seconds);
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

void fit_contention(const Cost& cost, Device& device, const std::vector<Measured>& held,
                    const std::vector<std::int64_t>& sms) {
  device.contention.clear();
  std::vector<std::int64_t> counts(sms);
  std::sort(counts.begin(), counts.end());
  counts.erase(std::unique(counts.begin(), counts.end()), counts.end());
  std::vector<ContentionPoint> curve;
  int hundredths = 100;  // of the slowdown, which grows with the count
  for (const std::int64_t count : counts) {
    if (count <= 0 || count >= device.multiprocessors) continue;
    double best = 1e30;
    for (int tried = hundredths; tried <= 300; ++tried) {
      device.contention = {{count, tried / 100.0}};
      double sum = 0;
      for (std::size_t i = 0; i < held.size(); ++i)
        if (sms[i] == count) sum += std::abs(logarithm(cost, device, held[i], count));
      if (sum < best - 1e-9) {
        best = sum;
        hundredths = tried;
      }
    }
    curve.push_back({count, hundredths / 100.0});
  }
  device.contention = curve;
}

}  // namespace moesim
