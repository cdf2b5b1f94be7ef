#include <catch2/catch.hpp>
#include <limits>

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

TEST_CASE("Long times print in minutes, hours and days") {
  CHECK(print(299_s) == "299 s");
  CHECK(print(300_s) == "5 min");
  CHECK(print(7200_s) == "2 h");
  CHECK(print(172'800_s) == "2 d");
  CHECK(print(276'480_s) == "3.2 d");
  CHECK(print(WallClock{365 * 86400.0}) == "365 d");
  CHECK(print(WallClock{1e-6}) == "1 us");
}

TEST_CASE("Numbers beyond the largest unit keep their digits") {
  CHECK(print(WallClock{1e5 * 86400}) == "100000 d");
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

TEST_CASE("Sums, differences and products of times and sizes are exact, or an error") {
  const Time most{std::numeric_limits<std::int64_t>::max()}, least{std::numeric_limits<std::int64_t>::min()};
  CHECK((most - 1_ps) + 1_ps == most);
  CHECK_THROWS_AS(most + 1_ps, RunError);
  CHECK_THROWS_AS(least - 1_ps, RunError);
  CHECK_THROWS_AS(longest_time * 2, RunError);
  CHECK_THROWS_AS(2 * longest_time, RunError);
  Time sum = longest_time;
  CHECK_THROWS_AS(sum += longest_time, RunError);
  CHECK(sum == longest_time);
  CHECK_THROWS_AS(Bytes{5'000'000'000} * 5'000'000'000, RunError);
  CHECK_THROWS_WITH(Bytes{most.count} + Bytes{1}, "sizes add up to more than can be simulated (9.2 EB)");
  CHECK_THROWS_WITH(most + 1_ps, "times add up to more than can be simulated (100 days)");
}

TEST_CASE("A size is the nearest whole byte, and one that 64 bits do not hold is an error") {
  CHECK(from_bytes(2.5e6).count == 2'500'000);
  CHECK(from_bytes(0.6).count == 1);
  CHECK(from_bytes(9e18).count == 9'000'000'000'000'000'000);
  CHECK_THROWS_AS(from_bytes(9.3e18), RunError);
  CHECK_THROWS_AS(from_bytes(0.0 / 0.0), RunError);
  CHECK_THROWS_AS(scaled(Bytes{1'000'000'000'000}, 1e9), RunError);
}

TEST_CASE("A mean of times is exact, however long they are together") {
  MeanTime mean;
  mean.add(longest_time, 100'000);
  mean.add(longest_time - 2_s, 100'000);
  CHECK(mean.mean() == longest_time - 1_s);
  MeanTime down;
  down.add(1_ps, 2);
  down.add(2_ps, 1);
  CHECK(down.mean() == 1_ps);
}
