#include "models/cost/power.hpp"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <vector>

using namespace moesim;
using namespace moesim::literals;

namespace {

constexpr double lowest = 0.17;  // clock
constexpr double within = 1e-3;  // of the power that is held

Device device_of(double limit, double exponent = 2, double held = 1) {
  Device device;
  device.launch_overhead = 1_us;
  device.power = PowerBehaviour{};
  device.power->idle = {100};
  device.power->limit = {limit};
  device.power->held = held;
  device.power->active = {200};
  device.power->per_byte = {40e-12};
  at(device.power->per_flop, Precision::bf16) = {0.5e-12};
  device.power->exponent = exponent;
  return device;
}

/// A law of power, and the clocks that it was asked for.
struct Law {
  std::function<double(double)> watts;
  std::vector<double> asked{};
  Power operator()(double clock) {
    asked.push_back(clock);
    return {watts(clock)};
  }
};

double settled(const Device& device, Law& law) {
  return settled_clock(device, [&](double clock) { return law(clock); });
}

}  // namespace

TEST_CASE("Where the mean power is below what is held the clock is the full one, asked for once") {
  for (const double watts : {100.0, 400.0, 700.0}) {
    Law law{[=](double) { return watts; }};
    CHECK(settled(device_of(700), law) == 1);
    CHECK(law.asked == std::vector<double>{1});
  }
}

TEST_CASE("Under a power law the settled clock is the one that the law says") {
  for (const double exponent : {1.0, 1.7, 2.0, 3.0, 4.0}) {
    for (const double full : {720.0, 800.0, 1100.0, 2000.0}) {
      for (const double held : {1.0, 0.9}) {
        // The device's own exponent is where the search begins: the law may have another.
        for (const double begins_with : {1.0, 2.0, 4.0}) {
          CAPTURE(exponent, full, held, begins_with);
          Law law{[=](double clock) { return 100 + (full - 100) * std::pow(clock, exponent); }};
          const double clock = settled(device_of(700, begins_with, held), law);
          const double expected = std::pow((700 * held - 100) / (full - 100), 1 / exponent);
          if (expected < lowest) {
            CHECK(clock == Approx(lowest));
          } else {
            CHECK(law.watts(clock) == Approx(700 * held).epsilon(1.001 * within));
            CHECK(clock == Approx(expected).epsilon(2 * within));
          }
        }
      }
    }
  }
}

TEST_CASE("A step that gets longer as the clock falls settles at what is held, too") {
  // Products that take as much longer as the clock is lower, beside time that no clock changes.
  for (const double share : {0.2, 0.6, 1.0}) {
    CAPTURE(share);
    Law law{[=](double clock) {
      const double time = share / clock + (1 - share);
      return 100 + (900 * share / clock * std::pow(clock, 2.5) + 200 * (1 - share)) / time;
    }};
    const double clock = settled(device_of(600), law);
    if (law.watts(1) <= 600) {
      CHECK(clock == 1);
    } else {
      CHECK(law.watts(clock) == Approx(600).epsilon(1.001 * within));
    }
  }
}

TEST_CASE("The clock that is returned is the last that was asked for, and none is below the lowest") {
  for (const double limit : {110.0, 150.0, 300.0, 500.0, 690.0}) {
    CAPTURE(limit);
    Law law{[](double clock) { return 100 + 620 * std::pow(clock, 2.2); }};
    const double clock = settled(device_of(limit), law);
    CHECK(law.asked.back() == clock);
    CHECK(law.asked.size() <= 13);
    for (const double asked : law.asked) {
      CHECK(asked >= lowest);
      CHECK(asked <= 1);
    }
  }
}

TEST_CASE("After a rest steps have the full clock until the window has passed, then the settled one") {
  Device device = device_of(700);
  device.power->window = 40_ms;
  const auto clock = [&](Time step, std::int64_t number) {
    return clock_after_rest(device, 0.8, step, number);
  };
  CHECK(clock(10_ms, 0) == 0.8);
  for (const std::int64_t number : {1, 2, 3, 4}) CHECK(clock(10_ms, number) == 1);
  CHECK(clock(10_ms, 5) == 0.8);
  CHECK(clock(40_ms, 1) == 1);
  // Half of its work at the full clock, half at 0.8 of it: 1.125 times as long.
  CHECK(clock(80_ms, 1) == Approx(1 / 1.125));
  CHECK(clock(80_ms, 2) == 0.8);
  CHECK(clock(32_ms, 2) == Approx(1 / (0.25 + 0.75 / 0.8)));
  CHECK(clock_after_rest(device, 1, 80_ms, 1) == 1);
  device.power->window = 0_ms;
  CHECK(clock(10_ms, 1) == 0.8);
}

TEST_CASE("The lower the limit, the lower the clock") {
  double before = 0;
  for (double limit = 150; limit <= 800; limit += 25) {
    Law law{[](double clock) { return 100 + 620 * std::pow(clock, 2.2); }};
    const double clock = settled(device_of(limit), law);
    CAPTURE(limit);
    CHECK(clock >= before);
    before = clock;
  }
  CHECK(before == 1);
}

TEST_CASE("An op draws what multiprocessors, operations and bytes do") {
  const Device device = device_of(700);
  Op op = make_gemm("product", OpPass::forward, 1024, 1024, 1024, Precision::bf16);
  const double products = 0.5e-12 * op.flops.count, bytes = 40e-12 * static_cast<double>(op.bytes.count);
  // A microsecond of launching draws no more than idle.
  CHECK(drawn(op, 11_us, device, 1).count == Approx(200 * 10e-6 + products + bytes));
  CHECK(drawn(op, 11_us, device, 0.5).count == Approx(200 * 10e-6 / 4 + products / 2 + bytes));
  op.passes = 2;
  CHECK(drawn(op, 11_us, device, 1).count == Approx(200 * 10e-6 + products + 2 * bytes));
  CHECK(drawn(op, 0_us, device, 1).count == Approx(products + 2 * bytes));
  CHECK(drawn(op, 11_us, Device{}, 1).count == 0);
}

TEST_CASE("The same op at a lower clock draws no more, though it lasts longer") {
  for (const double exponent : {1.0, 2.0, 3.0}) {
    const Device device = device_of(700, exponent);
    const Op op = make_gemm("product", OpPass::forward, 4096, 4096, 4096, Precision::bf16);
    double before = 0;
    for (double clock = 0.2; clock <= 1; clock += 0.1) {
      const Time launch = 1_us;  // at any clock
      const double energy = drawn(op, launch + scaled(200_us, 1 / clock), device, clock).count;
      CHECK(energy >= before * (1 - 1e-8));  // whole picoseconds
      before = energy;
    }
  }
}
