// Goodput: the simulation of failures, checkpoints and restarts against counting and against Daly's model.
#include <catch2/catch.hpp>
#include <cmath>

#include "sim/report/report.hpp"

using namespace moesim;

namespace {

constexpr double year = 365.25 * 24 * 3600;

Failures failures_of(double interval, double checkpoint, double restart, double run) {
  Failures failures;
  failures.checkpoint_interval = from_seconds(interval);
  failures.checkpoint_cost = from_seconds(checkpoint);
  failures.restart_cost = from_seconds(restart);
  failures.run = {run};
  return failures;
}

}  // namespace

TEST_CASE("Failures at given times lose what was not saved, to the second") {
  Failures failures = failures_of(100, 10, 50, 1000);
  failures.at = {WallClock{250}};
  // Saved at 110 and 220; 30 s lost; on at 300; saved at 410, 520, ..., 960, and 40 s of the next one.
  GoodputReport report = goodput_of(failures, 1, 8, from_seconds(1));
  CHECK(report.failures == 1);
  CHECK(report.simulated == Approx((200 + 600 + 40) / 1000.0));
  CHECK(report.working == Approx((200 + 30 + 600 + 40) / 1000.0));
  CHECK(report.expected == 0);
  failures.at = {WallClock{250}, WallClock{290}};  // the second one while it restarts
  report = goodput_of(failures, 1, 8, from_seconds(1));
  CHECK(report.failures == 2);
  CHECK(report.simulated == Approx((200 + 600 + 0) / 1000.0));  // on at 340; six saved by 1,000
  CHECK(report.working == Approx((200 + 30 + 600) / 1000.0));
  failures.at = {WallClock{990}};
  CHECK(goodput_of(failures, 1, 8, from_seconds(1)).simulated == Approx(0.9));
  failures.at = {WallClock{1000}};  // when it is over
  CHECK(goodput_of(failures, 1, 8, from_seconds(1)).failures == 0);
}

TEST_CASE("A failure in the instant in which a checkpoint ends does not cost it, one before does") {
  Failures failures = failures_of(100, 10, 0, 220);
  failures.at = {WallClock{110}};
  CHECK(goodput_of(failures, 1, 1, from_seconds(1)).simulated == Approx(200.0 / 220));
  failures.at = {WallClock{109.999}};
  CHECK(goodput_of(failures, 1, 1, from_seconds(1)).simulated == Approx(100 / 220.0).margin(1e-4));
}

TEST_CASE("The interval is a whole number of steps and at least one") {
  const Failures failures = failures_of(100, 1, 1, 1e5);
  CHECK(goodput_of(failures, 1, 1, from_seconds(7)).steps_between == 14);
  CHECK(goodput_of(failures, 1, 1, from_seconds(7)).interval == from_seconds(98));
  CHECK(goodput_of(failures, 1, 1, from_seconds(900)).steps_between == 1);
}

TEST_CASE("Simulated goodput is that of Daly's model over a long run") {
  for (const double mean : {300.0, 2000.0, 20'000.0}) {
    for (const double interval : {50.0, 400.0}) {
      for (const double restart : {10.0, 200.0}) {
        CAPTURE(mean, interval, restart);
        Failures failures = failures_of(interval, 20, restart, 99.0 * 86400);
        failures.per_device_year = year / mean / 16;
        const GoodputReport report = goodput_of(failures, 5, 16, from_seconds(1));
        CHECK(report.mean_between_s == Approx(mean));
        // Failures spread as their root: four standard deviations of what they cost.
        const double margin = 4 * (1 - report.expected) / std::sqrt(static_cast<double>(report.failures));
        CHECK(report.simulated == Approx(report.expected).margin(margin));
        CHECK(report.expected == Approx(daly_goodput(interval, 20, restart, mean)));
      }
    }
  }
}

TEST_CASE("Daly's interval is the best of its model, Young's nearly") {
  for (const double mean : {2000.0, 20'000.0, 1e6}) {
    Failures failures = failures_of(100, 30, 100, 86400);
    failures.per_device_year = year / mean;
    const GoodputReport report = goodput_of(failures, 1, 1, from_seconds(1));
    CHECK(report.young_s == Approx(std::sqrt(2 * 30 * mean)));
    CHECK(report.expected_at_daly >= report.expected_at_young);
    for (const double other : {0.5, 0.8, 0.95, 1.05, 1.3, 2.0})
      CHECK(report.expected_at_daly >= daly_goodput(other * report.daly_s, 30, 100, mean));
  }
}

// The optima in the captions of figures 3 to 5 of Daly 2006: 117, 57 and 9.1 minutes, for checkpoints of 5
// and restarts of 10 minutes.
TEST_CASE("Daly's interval is that of his paper for a day, six hours and a quarter of one between failures") {
  struct Published {
    double mean_between, interval, half_a_digit;  // minutes
  };
  for (const Published& one :
       {Published{1440, 117, 0.5}, Published{360, 57, 0.5}, Published{15, 9.1, 0.05}}) {
    Failures failures = failures_of(3600, 300, 600, 86400);
    failures.per_device_year = year / (60 * one.mean_between);
    const GoodputReport report = goodput_of(failures, 1, 1, from_seconds(1));
    CHECK(report.daly_s / 60 == Approx(one.interval).margin(one.half_a_digit));
  }
}

TEST_CASE("Percentiles are values that so many do not exceed") {
  std::vector<double> values;
  for (int i = 100; i > 0; --i) values.push_back(i);
  const Percentiles of = percentiles_of(values);
  CHECK(of.least == 1);
  CHECK(of.median == 50);
  CHECK(of.p90 == 90);
  CHECK(of.p99 == 99);
  CHECK(of.most == 100);
  CHECK(of.mean == Approx(50.5));
  CHECK(percentiles_of({3}).p99 == 3);
  CHECK(percentiles_of({3, 1}).median == 1);
  CHECK(percentiles_of({3, 1}).p90 == 3);
}

TEST_CASE("Cheaper checkpoints never cost goodput, and those that cost nothing lose restarts alone") {
  for (const double restart : {0.0, 600.0}) {
    double young = 0, daly = 0;
    for (const double checkpoint : {1000.0, 100.0, 10.0, 1.0, 1e-3, 1e-6, 1e-12, 0.0}) {
      CAPTURE(restart, checkpoint);
      Failures failures = failures_of(100, checkpoint, restart, 86400);
      failures.per_device_year = year / 20'000;
      const GoodputReport report = goodput_of(failures, 1, 1, from_seconds(1));
      CHECK(report.expected_at_young >= young);
      CHECK(report.expected_at_daly >= daly);
      CHECK(report.expected_at_young <= 1);
      young = report.expected_at_young;
      daly = report.expected_at_daly;
    }
    CHECK(young == Approx(std::exp(-restart / 20'000)).epsilon(1e-9));
    CHECK(daly == young);
  }
}

TEST_CASE("A run may last a year, and its goodput is that of Daly's model") {
  Failures failures = failures_of(3600, 60, 600, year);
  failures.per_device_year = 365.25;  // one a day
  const GoodputReport report = goodput_of(failures, 1, 1, from_seconds(20));
  CHECK(report.run.count == year);
  CHECK(static_cast<double>(report.failures) == Approx(365).margin(60));
  CHECK(report.simulated == Approx(report.expected).margin(0.01));
}
