#include <catch2/catch.hpp>

#include "models/base/at.hpp"
#include "models/cost/fit_power.hpp"
#include "models/cost/power.hpp"
#include "models/cost/roofline.hpp"
#include "tests/support/devices.hpp"

using namespace moesim;

namespace {

Op product(std::int64_t m, std::int64_t n, std::int64_t k, Precision precision = Precision::bf16) {
  return make_gemm("gemm", OpPass::forward, m, n, k, precision);
}

Op copy() { return make_streaming(OpKind::copy, "copy", OpPass::forward, 1 << 29, 1, 2); }

/// What `device` takes and draws for ops in turn, with a pause, at the clock to which it settles.
MeasuredMix mix_of(const std::vector<std::pair<Op, std::int64_t>>& parts, double pause,
                   const Device& device) {
  const std::unique_ptr<const Cost> cost = make_roofline();
  const auto seconds = [&](const Op& op, double clock) {
    return to_seconds(cost->time(op, device, {0, clock}).time);
  };
  const auto mean_at = [&](double clock) {
    double time = pause, joules = 0;
    for (const auto& [op, calls] : parts) {
      const double own = seconds(op, clock), times = static_cast<double>(calls);
      time += times * own;
      joules += times * drawn(op, from_seconds(own), device, clock).count;
    }
    return device.power->idle + Power{joules / time};
  };
  const double clock = settled_clock(device, mean_at);
  MeasuredMix mix{.parts = {}, .pause_seconds = pause, .power = mean_at(clock)};
  for (const auto& [op, calls] : parts)
    mix.parts.push_back({.measured = {.op = op, .seconds = seconds(op, clock), .line = {}},
                         .alone_seconds = seconds(op, 1),
                         .calls = calls});
  return mix;
}

MeasuredPower measured(const Device& device) {
  const Op large = product(8192, 8192, 8192), middle = product(8192, 4096, 4096);
  const Op in_fp8 = product(8192, 8192, 8192, Precision::fp8);
  MeasuredPower power{.limit = device.power->limit,
                      .idle = device.power->idle,
                      .response = device.power->window,
                      .mixes = {}};
  for (const Op& alone : {large, middle, in_fp8, product(8192, 8192, 1024), copy()})
    power.mixes.push_back(mix_of({{alone, 1}}, 0, device));
  for (const std::int64_t copies : {1, 2, 4, 8})
    power.mixes.push_back(mix_of({{middle, 2}, {copy(), copies}}, 0, device));
  for (const double pause : {1e-4, 3e-4, 1e-3}) power.mixes.push_back(mix_of({{middle, 2}}, pause, device));
  power.mixes.push_back(mix_of({{in_fp8, 1}}, 5e-4, device));
  return power;
}

}  // namespace

TEST_CASE("What a device draws is found in the times and powers of the mixes that it was made with") {
  const Device truth = testing::device("h200.json");
  Device found = truth;
  PowerBehaviour& power = *found.power;
  power.active = power.active * 0.7;
  power.per_byte = power.per_byte * 1.5;
  at(power.per_flop, Precision::bf16) = at(power.per_flop, Precision::bf16) * 1.4;
  power.exponent = 1.5;
  power.held = 0.9;
  power.limit = {500};
  const std::unique_ptr<const Cost> cost = make_roofline();
  const MeasuredPower mixes = measured(truth);
  CHECK(power_errors(*cost, found, mixes).times.median > 0.02);
  fit_power(*cost, found, mixes);
  CHECK(power.limit == truth.power->limit);
  CHECK(power.held == Approx(truth.power->held).epsilon(0.01));
  const PowerErrors errors = power_errors(*cost, found, mixes);
  CHECK(errors.times.worst < 0.01);
  CHECK(errors.powers.worst < 0.03);
}

TEST_CASE("A device whose file gives no power is given none by a fit") {
  Device device = testing::device("h200.json");
  const MeasuredPower mixes = measured(device);
  device.power.reset();
  fit_power(*make_roofline(), device, mixes);
  CHECK_FALSE(device.power);
}
