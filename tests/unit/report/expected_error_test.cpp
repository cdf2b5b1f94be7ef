// Error bars: what they hold, what widens them, and where there are none.
#include <catch2/catch.hpp>
#include <cmath>

#include "sim/read/scenario.hpp"
#include "sim/report/error_model.hpp"
#include "sim/run/simulate.hpp"

using namespace moesim;

namespace {

ErrorFamily family(std::string of, std::string where, double deviation) {
  return {.of = std::move(of), .where = std::move(where), .shapes = 9, .deviation = deviation};
}

/// A scenario whose times err as these families say.
Simulation simulated(Scenario& scenario, std::vector<ErrorFamily> families, std::int64_t draws = 0) {
  scenario.certainty = {.families = std::move(families), .draws = draws};
  return simulate(scenario, 2);
}

Scenario two_gpus() { return load_scenario("scenarios/two-gpus.json"); }

}  // namespace

TEST_CASE("Error bars hold the step time, and twice the error that dominates moves them twice as far") {
  Scenario scenario = two_gpus();
  double before = 0;
  for (const double deviation : {0.1, 0.2, 0.4}) {
    const Report report = simulated(scenario, {family("software", "ideal", deviation)}).report;
    REQUIRE(report.expected_error);
    CHECK(report.expected_error->low < report.step_time);
    CHECK(report.expected_error->high > report.step_time);
    CHECK(report.expected_error->known_share == 1);
    CHECK(report.expected_error->sources.front().of == "software");
    const double reach = std::log(report.expected_error->high / report.step_time);
    CHECK(reach == Approx(deviation * bar_reach()).epsilon(1e-6));
    CHECK(reach > before);
    before = reach;
  }
}

TEST_CASE("Without errors, and where most of a step is unknown, there are no bars") {
  Scenario scenario = two_gpus();
  CHECK(!simulated(scenario, {}).report.expected_error);
  CHECK(!simulated(scenario, {family("software", "ideal", 0)}).report.expected_error);
  CHECK(!simulated(scenario, {family("software", "another", 0.1)}).report.expected_error);
  CHECK(!simulated(scenario, {family("kernels of the update", where_in_steps(scenario), 0.1)})
             .report.expected_error);
}

TEST_CASE("On a device that nobody measured kernels are off as far as on the worst that somebody did") {
  Scenario scenario = two_gpus();
  const auto bars = [&](std::vector<ErrorFamily> families) {
    families.push_back(family("software", "ideal", 0.1));
    return simulated(scenario, std::move(families)).report.expected_error->deviation;
  };
  const char* of = "matrix products in bf16";
  const double known = bars({family(of, where_in_steps(scenario), 0.2)});
  CHECK(bars({}) < known);
  CHECK(bars({family(of, "ideal on another, roofline", 0.2)}) == Approx(known));
  CHECK(bars({family(of, "ideal on another, roofline", 0.2), family(of, "ideal on a third, roofline", 0.3)}) >
        known);
  // What was measured of the device itself counts, however far others are off.
  CHECK(bars({family(of, where_in_steps(scenario), 0.2), family(of, "ideal on another, roofline", 0.3)}) ==
        Approx(known));
}

TEST_CASE("Kernels of one class err together, and of shapes that err apart errors cancel in part") {
  Scenario scenario = two_gpus();
  const auto deviation = [&](bool by_shape) {
    std::vector<ErrorFamily> families;
    for (const char* of : {"matrix products in bf16", "products of experts in bf16", "attention kernels",
                           "streaming kernels", "gathers and scatters"}) {
      families.push_back(family(of,
                                by_shape ? where_alone(scenario.cluster->device.name, scenario.cost_name)
                                         : where_in_steps(scenario),
                                0.1));
    }
    const auto error = simulated(scenario, std::move(families)).report.expected_error;
    REQUIRE(error);
    return error->deviation;
  };
  CHECK(deviation(true) < deviation(false));
  CHECK(deviation(false) < 0.1);
}

TEST_CASE("The step itself is the same to the picosecond, whatever is known of its error") {
  Scenario scenario = two_gpus();
  const std::string fingerprint = simulated(scenario, {}).report.fingerprint;
  CHECK(simulated(scenario, {family("software", "ideal", 0.1)}, 10).report.fingerprint == fingerprint);
}

TEST_CASE("Draws are the same every time and for any number of threads, and come near to first order") {
  Scenario scenario = two_gpus();
  const std::vector<ErrorFamily> families{
      family("matrix products in bf16", where_in_steps(scenario), 0.1),
      family("products of experts in bf16", where_in_steps(scenario), 0.1),
      family("attention kernels", where_in_steps(scenario), 0.1),
      family("streaming kernels", where_in_steps(scenario), 0.1),
      family("exchanges inside nodes", "as measured", 0.1)};
  const ExpectedError first = *simulated(scenario, families).report.expected_error;
  const Simulation drawn = simulated(scenario, families, 400);
  const ExpectedError& draws = *drawn.report.expected_error;
  CHECK(draws.draws == 400);
  scenario.certainty = {.families = families, .draws = 400};
  const ExpectedError again = *simulate(scenario, 1).report.expected_error;
  CHECK(again.low == draws.low);
  CHECK(again.high == draws.high);
  const double step = to_seconds(drawn.report.step_time);
  CHECK(std::log(to_seconds(draws.high) / step) ==
        Approx(std::log(to_seconds(first.high) / step)).epsilon(0.25));
  CHECK(draws.low < drawn.report.step_time);
}
