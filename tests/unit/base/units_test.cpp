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

TEST_CASE("Numbers beyond the largest unit keep their digits") {
  CHECK(print(86400_s) == "86400 s");
  CHECK(print(9999_s) == "9999 s");
  CHECK(print(Rate{5e16}) == "50000 TB/s");
}

TEST_CASE("Scaling by one changes nothing, however long the time") {
  for (const std::int64_t count : {1LL, 3LL, 999'999'999'999LL, 9'007'199'254'740'991LL}) {
    CHECK(scaled(Time{count}, 1.0).count == count);
  }
  CHECK(scaled(10_us, 0.25) == 2500_ns);
  CHECK(scaled(Time{3}, 0.5) == 2_ps);
  CHECK_THROWS_AS(scaled(8'000'000_s, 2.0), RunError);
  CHECK_THROWS_AS(scaled(1_s, 0.0 / 0.0), RunError);
}
