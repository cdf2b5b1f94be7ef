// The largest of values that are spread normally.
#include "models/base/spread.hpp"

#include <algorithm>
#include <catch2/catch.hpp>
#include <numeric>

using namespace moesim;

// Expected highest of n normal draws: Harter, Expected values of normal order statistics, Biometrika 1961.
TEST_CASE("The largest of some values is the expected highest of as many normal draws") {
  CHECK(largest_over_mean(0.1, 1) == 1);
  CHECK(largest_over_mean(0, 64) == 1);
  for (const auto& [count, highest] : {std::pair{8, 1.42360}, {10, 1.53875}, {100, 2.50759}}) {
    INFO(count);
    CHECK(largest_over_mean(0.1, count) - 1 == Approx(0.1 * highest).epsilon(0.01));
  }
  CHECK(largest_over_mean(0.1, 2) - 1 == Approx(0.056419).epsilon(0.05));
}

TEST_CASE("Of groups the largest is that of all values, and their mean that of one group") {
  for (const std::int64_t groups : {4, 16, 64}) {
    for (const std::int64_t each : {8, 128}) {
      INFO(groups << " groups of " << each);
      const std::vector<double> largest = largest_of_groups(0.02, groups, each);
      const double most = *std::max_element(largest.begin(), largest.end());
      const double mean = std::accumulate(largest.begin(), largest.end(), 0.0) / static_cast<double>(groups);
      CHECK(most - 1 == Approx(largest_over_mean(0.02, groups * each) - 1).epsilon(0.05));
      CHECK(mean - 1 == Approx(largest_over_mean(0.02, each) - 1).epsilon(0.05));
    }
  }
}

TEST_CASE("Without a spread, or with one value, no group is larger than another") {
  CHECK(largest_of_groups(0, 3, 8) == std::vector<double>{1, 1, 1});
  CHECK(largest_of_groups(0.1, 1, 1) == std::vector<double>{1});
}

TEST_CASE("The groups with the largest values do not stand together") {
  const std::vector<double> largest = largest_of_groups(0.02, 16, 64);
  const double median = largest_over_mean(0.02, 64);
  int longest = 0;
  int run = 0;
  for (const double value : largest) {
    run = value > median ? run + 1 : 0;
    longest = std::max(longest, run);
  }
  CHECK(longest <= 2);
}
