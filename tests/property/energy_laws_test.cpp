// What a step draws: its parts add up, and a power limit costs time and never energy.
#include <fmt/format.h>

#include <catch2/catch.hpp>
#include <cmath>
#include <optional>

#include "models/base/error.hpp"
#include "models/base/random.hpp"
#include "sim/read/scenario.hpp"
#include "sim/report/fact.hpp"
#include "sim/run/simulate.hpp"
#include "tests/support/drawn.hpp"
#include "tests/support/power.hpp"

using namespace moesim;
using namespace moesim::testing;

namespace {

constexpr double lowest_clock = 0.17, near = 2e-3;

/// Models that are large enough to heat a device, under any schedule; nothing where the parts do not fit.
std::optional<Scenario> drawn_hot(std::uint64_t number, double limit, const char* engine = "fluid") {
  Drawn one = draw(Random(35).stream("energy", number));
  one.batch = fmt::format(R"({{"sequences": {}, "sequence_length": 1024}})", one.devices * 4);
  try {
    Value document = load_document_text(one.text(), MOESIM_SOURCE "/drawn.json");
    apply_override(document, parse_override(power_set(limit)));
    apply_override(document, parse_override("model.hidden=2048"));
    apply_override(document, parse_override(std::string(R"(engine={"kind": ")") + engine + R"("})"));
    return read_scenario(document);
  } catch (const InputError&) {
    return std::nullopt;
  }
}

std::optional<Report> report_of(std::uint64_t number, double limit) {
  const std::optional<Scenario> scenario = drawn_hot(number, limit);
  if (!scenario) return {};
  try {
    return simulate_step(*scenario).report;
  } catch (const InputError&) {  // a collective refuses the groups
    return {};
  }
}

}  // namespace

namespace {

/// What is slower may clear a link for what all wait for (slower_test.cpp): never by more than contention
/// costs.
bool is_cleared(std::uint64_t number, double limit, const Report& now) {
  return now.step_time >= simulate_step(*drawn_hot(number, limit, "ideal")).report.step_time;
}

}  // namespace

TEST_CASE("The energy of a step is that of its parts, its mean power times its time, and idle at least") {
  int tried = 0;
  for (std::uint64_t number = 0; number < 80; ++number) {
    const std::optional<Report> report = report_of(number, 700);
    if (!report) continue;
    CAPTURE(number);
    ++tried;
    const PowerReport& power = *report->power;
    Energy parts = power.idle + power.communication;
    for (const KernelReport& kernels : report->kernels) parts += kernels.energy;
    CHECK(parts.count == Approx(power.energy.count).epsilon(1e-9));
    CHECK(power.idle.count == Approx((power.idle_power * report->step_time).count));
    CHECK(power.energy >= power.idle);
    CHECK(power.held.count >= power.mean.count * (1 - 1e-12));  // pauses count less there
    const double joules = moesim::number("joules", *report);
    CHECK(joules == Approx(moesim::number("mean_power_w", *report) * moesim::number("step_time_s", *report) *
                           static_cast<double>(report->devices)));
    CHECK(joules ==
          Approx(moesim::number("joules_per_token", *report) * static_cast<double>(report->tokens)));
    for (const KernelReport& kernels : report->kernels)
      CHECK((kernels.energy.count > 0) == (kernels.launches > 0));
  }
  CHECK(tried > 20);
}

TEST_CASE("A lower limit never makes a step faster and never lets it draw more") {
  int tried = 0, slowed = 0, short_of_it = 0;
  for (std::uint64_t number = 0; number < 60; ++number) {
    std::optional<Report> before = report_of(number, 900);
    if (!before) continue;
    ++tried;
    double limit_before = 900;
    for (const double limit : {600.0, 400.0, 300.0, 200.0}) {
      const Report now = *report_of(number, limit);
      CAPTURE(number, limit);
      const PowerReport &power = *now.power, &of_before = *before->power;
      const bool is_shorter = to_seconds(now.step_time) < to_seconds(before->step_time) * (1 - near);
      if (is_shorter) CHECK(is_cleared(number, limit_before, now));
      CHECK(power.clock <= of_before.clock * (1 + near));
      CHECK(power.held.count <= of_before.held.count * (1 + near));
      CHECK(power.energy.count - power.idle.count <=
            (of_before.energy.count - of_before.idle.count) * (1 + near));
      if (power.clock < 1 && power.clock > lowest_clock + 1e-6) {
        CHECK(power.held.count == Approx(limit).epsilon(near));
        ++slowed;
      }
      short_of_it += power.clock == 1 ? 1 : 0;
      if (power.clock == 1) CHECK(power.limit_cost == Time{});
      // A step may be a hair shorter where something ends later and so lets another go first.
      if (!is_shorter) CHECK(to_seconds(power.limit_cost) >= -near * to_seconds(now.step_time));
      limit_before = limit;
      before = now;
    }
  }
  CHECK(tried > 15);
  CHECK(slowed > 15);
  CHECK(short_of_it > 5);
}

TEST_CASE("At a limit that nothing reaches a step takes what it takes where power is not known") {
  int tried = 0;
  for (std::uint64_t number = 0; number < 40; ++number) {
    std::optional<Scenario> known = drawn_hot(number, 1e6);
    if (!known) continue;
    try {
      const Report with_power = simulate_step(*known).report;
      known->cluster->device.power.reset();
      CHECK(with_power.fingerprint == simulate_step(*known).report.fingerprint);
      CHECK(with_power.power->clock == 1);
      CHECK(with_power.power->limit_cost == Time{});
      ++tried;
    } catch (const InputError&) {  // a collective refuses the groups
    }
  }
  CHECK(tried > 10);
}
