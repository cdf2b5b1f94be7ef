#include <catch2/catch.hpp>

#include "models/base/error.hpp"
#include "models/base/units.hpp"

using namespace moesim;
using namespace moesim::literals;

TEST_CASE("A time is the nearest whole picosecond") {
  CHECK(from_seconds(1e-12) == 1_ps);
  CHECK(from_seconds(1.4e-12) == 1_ps);
  CHECK(from_seconds(1.6e-12) == 2_ps);
  CHECK(from_seconds(3.25) == 3250_ms);
}

TEST_CASE("A time beyond 100 days or not a number is an error") {
  CHECK(from_seconds(8.64e6).count == 8'640'000'000'000'000'000);
  CHECK_THROWS_AS(from_seconds(8.65e6), RunError);
  CHECK_THROWS_AS(from_seconds(0.0 / 0.0), RunError);
}

TEST_CASE("Bytes over a rate is a time, and a rate of zero is an error") {
  CHECK(Bytes{50'000'000'000} / 50_GBps == 1_s);
  CHECK_THROWS_AS(Bytes{1} / Rate{0}, std::logic_error);
}

TEST_CASE("Quantities print with a fitting unit") {
  CHECK(print(1500_us) == "1.5 ms");
  CHECK(print(Time{}) == "0 s");
  CHECK(print(Bytes{2'000'000}) == "2 MB");
  CHECK(print(46_GBps) == "46 GB/s");
  CHECK(print(989_TFLOPS) == "989 TFLOPS");
  CHECK(print(Time{999'999}) == "1 us");
}
