// Random streams: reproducible, apart from each other, and distributed as they say.
#include <catch2/catch.hpp>
#include <cmath>
#include <functional>
#include <set>

#include "models/base/random.hpp"

using namespace moesim;

namespace {

struct Moments {
  double mean = 0;
  double variance = 0;
};

constexpr int draws = 200'000;

Moments moments_of(const std::function<double()>& draw) {
  double sum = 0;
  double squares = 0;
  for (int i = 0; i < draws; ++i) {
    const double x = draw();
    sum += x;
    squares += x * x;
  }
  const double mean = sum / draws;
  return {mean, squares / draws - mean * mean};
}

/// Five standard errors: the mean of n draws has variance v / n, their variance (m4 - v^2) / n, where m4 is
/// the fourth central moment. The streams are fixed, so a pass today is a pass forever.
void check_moments(const Moments& found, double mean, double variance, double fourth) {
  CHECK(std::abs(found.mean - mean) < 5 * std::sqrt(variance / draws));
  CHECK(std::abs(found.variance - variance) < 5 * std::sqrt((fourth - variance * variance) / draws));
}

}  // namespace

TEST_CASE("The same seed and name give the same numbers, and a copy repeats") {
  RandomStream a = Random(7).stream("routing", 3, 5);
  RandomStream b = Random(7).stream("routing", 3, 5);
  for (int i = 0; i < 100; ++i) CHECK(a.bits() == b.bits());
  RandomStream copy = a;
  CHECK(a.bits() == copy.bits());
}

TEST_CASE("The numbers of a stream are the same on every machine") {
  RandomStream stream = Random(1).stream("golden");
  const std::uint64_t first = stream.bits();
  const std::uint64_t second = stream.bits();
  CHECK(first == 1492329908530674823ULL);
  CHECK(second == 633308255998203954ULL);
}

TEST_CASE("Streams of other seeds, purposes and coordinates differ") {
  std::set<std::uint64_t> firsts;
  std::size_t streams = 0;
  const auto add = [&](RandomStream stream) {
    firsts.insert(stream.bits());
    ++streams;
  };
  for (std::uint64_t seed = 0; seed < 4; ++seed) {
    for (const char* purpose : {"", "a", "aa", "routing", "routinh"}) {
      for (std::uint64_t i = 0; i < 10; ++i) {
        for (std::uint64_t j = 0; j < 10; ++j) add(Random(seed).stream(purpose, i, j));
      }
    }
  }
  add(Random(0).stream("a", 0, 0, 1));
  CHECK(firsts.size() == streams);
}

TEST_CASE("Neighbouring streams are not correlated") {
  RandomStream a = Random(1).stream("x", 0);
  RandomStream b = Random(1).stream("x", 1);
  double sum = 0;
  for (int i = 0; i < draws; ++i) sum += (a.uniform() - 0.5) * (b.uniform() - 0.5);
  CHECK(std::abs(sum / draws) < 5 * (1.0 / 12) / std::sqrt(draws));
}

TEST_CASE("Uniform numbers lie between 0 and 1, 0 included, with mean 1/2 and variance 1/12") {
  RandomStream stream = Random(2).stream("uniform");
  double low = 1;
  double high = 0;
  check_moments(moments_of([&] {
                  const double x = stream.uniform();
                  low = std::min(low, x);
                  high = std::max(high, x);
                  return x;
                }),
                0.5, 1.0 / 12, 1.0 / 80);
  CHECK(low >= 0);
  CHECK(high < 1);
}

TEST_CASE("Whole numbers below a bound come equally often") {
  for (const std::uint64_t bound : {1U, 2U, 3U, 7U, 256U}) {
    RandomStream stream = Random(3).stream("below", bound);
    std::vector<double> counts(bound);
    for (int i = 0; i < draws; ++i) counts.at(stream.below(bound)) += 1;
    // Pearson's statistic has mean bound - 1 and variance 2 (bound - 1).
    const double expected = draws / static_cast<double>(bound);
    double statistic = 0;
    for (const double count : counts) statistic += (count - expected) * (count - expected) / expected;
    const double freedom = static_cast<double>(bound) - 1;
    INFO("bound " << bound);
    CHECK(statistic <= freedom + 5 * std::sqrt(2 * freedom));
  }
  RandomStream stream = Random(3).stream("none");
  CHECK_THROWS_AS(stream.below(0), std::logic_error);
}

TEST_CASE("Normal numbers have mean 0, variance 1 and fourth moment 3") {
  RandomStream stream = Random(4).stream("normal");
  check_moments(moments_of([&] { return stream.normal(); }), 0, 1, 3);
  // The square has mean 1, variance 2 and fourth central moment 60: the tails are right too.
  check_moments(moments_of([&] {
                  const double x = stream.normal();
                  return x * x;
                }),
                1, 2, 60);
}

TEST_CASE("Gamma numbers have mean and variance equal to their shape, below 1 as above") {
  for (const double shape : {0.1, 0.5, 1.0, 2.5, 40.0}) {
    RandomStream stream = Random(5).stream("gamma", static_cast<std::uint64_t>(shape * 10));
    INFO("shape " << shape);
    check_moments(moments_of([&] { return stream.gamma(shape); }), shape, shape,
                  3 * shape * shape + 6 * shape);
  }
  RandomStream stream = Random(5).stream("none");
  CHECK_THROWS_AS(stream.gamma(0), std::logic_error);
}
