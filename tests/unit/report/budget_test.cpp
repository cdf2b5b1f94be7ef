// What a whole training comes to, on numbers done by hand; and the error where what it needs is not known.
#include "sim/report/budget.hpp"

#include <catch2/catch.hpp>
#include <filesystem>

#include "models/base/error.hpp"
#include "sim/read/scenario.hpp"
#include "sim/report/report.hpp"
#include "tests/support/power.hpp"
#include "tests/support/program.hpp"

using namespace moesim;
using namespace moesim::literals;
using namespace moesim::testing;

namespace {

/// A step of 2 s with 1,000 tokens on 10 devices of 500 W.
Report report() {
  Report made;
  made.step_time = 2_s;
  made.tokens = 1000;
  made.devices = 10;
  made.power = PowerReport{};
  made.power->mean = {500};
  made.power->idle_power = {100};
  return made;
}

/// 3,600 steps: two hours, twenty device hours, ten kWh.
Budget budget() {
  Budget made;
  made.tokens = 3.6e6;
  return made;
}

std::optional<InputError> refusal(const std::vector<std::string>& sets) {
  std::vector<Override> overrides;
  for (const std::string& set : sets) overrides.push_back(parse_override(set));
  try {
    static_cast<void>(load_scenario(MOESIM_SOURCE "/scenarios/two-gpus.json", overrides));
  } catch (const InputError& error) {
    return error;
  }
  return {};
}

}  // namespace

TEST_CASE("Tokens become steps, time, device hours and energy") {
  const BudgetReport of = budget_of(budget(), report());
  CHECK(of.tokens == 3.6e6);
  CHECK(of.steps == 3600);
  CHECK(of.wall_clock->count == Approx(7200));
  CHECK(of.device_hours.value() == Approx(20));
  CHECK(of.kwh.value() == Approx(10));
  CHECK(!of.device_cost);
  CHECK(!of.energy_cost);
  CHECK(!of.cost);
  CHECK(!of.carbon_kg);
}

TEST_CASE("Costs are those of devices and of energy, and add up") {
  Budget priced = budget();
  priced.price_per_device_hour = 2.5;
  const BudgetReport devices = budget_of(priced, report());
  CHECK(devices.device_cost.value() == Approx(50));
  CHECK(devices.cost.value() == Approx(50));
  CHECK(!devices.energy_cost);
  priced.price_per_kwh = 0.2;
  priced.kg_per_kwh = 0.4;
  const BudgetReport both = budget_of(priced, report());
  CHECK(both.energy_cost.value() == Approx(2));
  CHECK(both.cost.value() == Approx(52));
  CHECK(both.carbon_kg.value() == Approx(4));
}

TEST_CASE("The site's energy is that of devices and hosts, times the power usage effectiveness") {
  Budget site = budget();
  site.host_power = {200};
  CHECK(budget_of(site, report()).kwh.value() == Approx(14));
  site.pue = 1.5;
  CHECK(budget_of(site, report()).kwh.value() == Approx(21));
  CHECK(budget_of(site, report()).device_hours.value() == Approx(20));
}

TEST_CASE("Where the power of devices is not known there are hours and their cost, and no energy") {
  Report unknown = report();
  unknown.power.reset();
  Budget priced = budget();
  priced.price_per_device_hour = 2.5;
  const BudgetReport of = budget_of(priced, unknown);
  CHECK(of.cost.value() == Approx(50));
  CHECK(!of.kwh);
  CHECK(!of.energy_cost);
}

TEST_CASE(
    "Failures lengthen a training, and while checkpoints are written and work starts anew devices are idle") {
  Report failing = report();
  failing.goodput = GoodputReport{};
  failing.goodput->simulated = 0.5;
  failing.goodput->working = 0.75;
  const BudgetReport of = budget_of(budget(), failing);
  CHECK(of.wall_clock->count == Approx(14'400));
  CHECK(of.device_hours.value() == Approx(40));
  CHECK(of.kwh.value() == Approx(40 * (0.75 * 500 + 0.25 * 100) / 1000));
  failing.goodput->simulated = 0;
  const BudgetReport endless = budget_of(budget(), failing);
  CHECK(endless.steps > 0);
  CHECK(!endless.wall_clock);
  CHECK(!endless.kwh);
}

TEST_CASE("A key that counts energy needs devices whose power is known, and the error names a file") {
  for (const char* set : {"budget.price_per_kwh=0.1", "budget.kg_per_kwh=0.4", "budget.pue=1.2",
                          R"(budget.host_power="200 W")"}) {
    const std::optional<InputError> error = refusal({set});
    const std::string key = std::string(set).substr(0, std::string(set).find('='));
    CAPTURE(set);
    REQUIRE(error);
    CHECK(error->what() ==
          "--set: " + key +
              ": counts energy, but what H100 draws is not known: its device file has no part "
              "\"power\"");
    CHECK(!refusal({power_set(), set}));
  }
  CHECK(!refusal({"budget={}"}));
  CHECK(!refusal({"budget.price_per_device_hour=2"}));
  CHECK(!refusal({"budget.price_per_kwh=0", "budget.pue=1"}));
}

TEST_CASE("The hint of that error names every device file that has the power of its device") {
  const std::string hint = refusal({"budget.price_per_kwh=0.1"})->hint();
  for (const auto& file : std::filesystem::directory_iterator(MOESIM_SOURCE "/configs/devices")) {
    const std::string name = "configs/devices/" + file.path().filename().string();
    if (load_document(MOESIM_SOURCE "/" + name).find("power") == nullptr) continue;
    INFO(name);
    CHECK(hint.find(name) != std::string::npos);
  }
}
