#include "models/cost/fit_physics.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <iterator>
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

/// The slowdown with which ops on the fitted device take what they took: what they take over what they take
/// alone, where that is known.
double fitted_slowdown(const Cost& cost, Device& device, Beside beside,
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
  int hundredths = 100;
  double best = std::numeric_limits<double>::infinity();
  for (int tried = hundredths; tried <= most_hundredths; ++tried) {
    at(device.contention.own, beside) = {{count, tried / 100.0, 1}};
    double sum = 0;
    for (std::size_t i = 0; i < measured.size(); ++i)
      sum += std::abs(std::log(seconds(measured[i], count) / targets[i]));
    if (sum < best - 1e-9) best = sum, hundredths = tried;
  }
  return hundredths / 100.0;
}

/// A curve that rises in `compute`: points that fall take the mean of those that fall together, weighted by
/// `lines` (isotonic regression by pooling adjacent violators; Barlow and others, "Statistical Inference
/// under Order Restrictions", 1972).
void make_rise(ContentionCurve& curve, const std::vector<double>& lines) {
  struct Pool {
    double sum, weight;
    std::size_t points;
    double mean() const { return sum / weight; }
  };
  std::vector<Pool> pools;
  for (std::size_t i = 0; i < curve.size(); ++i) {
    pools.push_back({curve[i].compute * lines[i], lines[i], 1});
    while (pools.size() > 1 && pools[pools.size() - 2].mean() > pools.back().mean()) {
      const Pool last = pools.back();
      pools.pop_back();
      pools.back().sum += last.sum, pools.back().weight += last.weight, pools.back().points += last.points;
    }
  }
  std::size_t next = 0;
  for (const Pool& pool : pools)
    for (std::size_t i = 0; i < pool.points; ++i) curve[next++].compute = pool.mean();
}

ContentionCurves fitted_curves(const Cost& cost, Device& device,
                               const std::vector<MeasuredBeside>& measured) {
  std::array<std::map<std::int64_t, std::vector<MeasuredBeside>>, beside_count> by_count;
  for (const MeasuredBeside& one : measured)
    if (one.communication_sms > 0 && one.communication_sms < device.multiprocessors)
      at(by_count, beside_of(one.op))[one.communication_sms].push_back(one);
  ContentionCurves curves;
  for (std::size_t beside = 0; beside < beside_count; ++beside) {
    std::vector<double> lines;
    for (const auto& [count, all] : by_count[beside]) {
      std::vector<double> slowed;
      for (const MeasuredBeside& one : all) slowed.push_back(one.communication);
      curves[beside].push_back({count, fitted_slowdown(cost, device, static_cast<Beside>(beside), all),
                                std::max(1.0, middle(slowed))});
      lines.push_back(static_cast<double>(all.size()));
    }
    make_rise(curves[beside], lines);
  }
  return curves;
}

std::vector<MeasuredBeside> those_where(const std::vector<MeasuredBeside>& measured, const auto& holds) {
  std::vector<MeasuredBeside> those;
  std::copy_if(measured.begin(), measured.end(), std::back_inserter(those), holds);
  return those;
}

/// The number of multiprocessors with which NCCL's collectives, beside nothing, take as long as with as many
/// as it likes; 0 where that was not measured.
std::int64_t usual_count(const std::vector<MeasuredBeside>& of_nccl) {
  using Key = std::pair<std::string, std::int64_t>;  // a collective and its bytes
  std::map<Key, double> usual;
  for (const MeasuredBeside& one : of_nccl)
    if (one.communication_sms == 0 && one.urgent) usual[{one.with, one.bytes}] = one.alone_round_seconds;
  std::map<std::int64_t, std::map<Key, double>> far;
  for (const MeasuredBeside& one : of_nccl) {
    const auto found = usual.find({one.with, one.bytes});
    if (one.communication_sms > 0 && found != usual.end())
      far[one.communication_sms][found->first] = std::abs(std::log(one.alone_round_seconds / found->second));
  }
  std::pair<double, std::int64_t> best{std::numeric_limits<double>::infinity(), 0};
  for (const auto& [count, distances] : far) {
    double sum = 0;
    for (const auto& [key, distance] : distances) sum += distance;
    best = std::min(best, {sum / static_cast<double>(distances.size()), count});
  }
  return best.second;
}

/// NCCL as frameworks run it.
std::vector<MeasuredBeside> usual_of_nccl(const std::vector<MeasuredBeside>& measured) {
  const std::int64_t count =
      usual_count(those_where(measured, [](const MeasuredBeside& one) { return one.is_nccl(); }));
  std::vector<MeasuredBeside> usual = those_where(measured, [](const MeasuredBeside& one) {
    return one.is_nccl() && one.communication_sms == 0 && !one.urgent;
  });
  std::int64_t most = 0;
  for (const MeasuredBeside& one : usual) most = std::max(most, one.bytes);
  std::erase_if(usual, [most](const MeasuredBeside& one) { return one.bytes < most; });
  for (MeasuredBeside& one : usual) one.communication_sms = count;
  return usual;
}

}  // namespace

void fit_contention(const Cost& cost, Device& device, const std::vector<MeasuredBeside>& measured) {
  const auto with = [&](const char* way) {
    return those_where(measured, [way](const MeasuredBeside& one) { return one.with == way; });
  };
  const std::vector<MeasuredBeside> to_peers = with("peer");
  Contention contention;
  device.contention = {};
  contention.own = fitted_curves(cost, device, to_peers.empty() ? with("memory") : to_peers);
  device.contention = {};
  contention.nccl = fitted_curves(cost, device, usual_of_nccl(measured));
  device.contention = contention;
}

}  // namespace moesim
