// What a family of residuals says of the next measurement.
#include "sim/scenario/certainty.hpp"

#include <catch2/catch.hpp>
#include <cmath>

using namespace moesim;

namespace {

std::vector<Residual> residuals(std::initializer_list<double> off, double explained = 0) {
  std::vector<Residual> all;
  for (const double one : off)
    all.push_back({.name = "case " + std::to_string(all.size()), .off = one, .explained = explained});
  return all;
}

}  // namespace

TEST_CASE("Bars hold so many residuals as the level asks for, counting one that is still to come") {
  // Of nine and one more eight are to be inside: the eighth is just held.
  const auto nine = residuals({0.01, -0.02, 0.03, -0.04, 0.05, -0.06, 0.07, -0.08, 0.5});
  CHECK(*deviation_of(nine) * bar_reach() == Approx(0.08));
  CHECK(bar_reach() == Approx(1.2816).epsilon(1e-3));
}

TEST_CASE("Fewer than four residuals say nothing, and four are all held") {
  CHECK(!deviation_of(residuals({0.1, 0.1, 0.1})));
  CHECK(*deviation_of(residuals({0.1, -0.2, 0.1, 0.1})) * bar_reach() == Approx(0.2));
}

TEST_CASE("What others explain is left out, and what they explain whole leaves nothing") {
  const auto all = residuals({0.1, -0.1, 0.1, 0.1}, 0.05);
  CHECK(std::hypot(*deviation_of(all), 0.05) * bar_reach() == Approx(0.1));
  CHECK(*deviation_of(residuals({0.01, 0.01, 0.01, 0.01}, 0.05)) == 0);
}

TEST_CASE("Without a case a family is what the others make it") {
  Certainty certainty;
  certainty.families.push_back(
      {.of = "one", .where = "here", .residuals = residuals({0.1, 0.1, 0.1, 0.1, 0.9})});
  certainty.families.back().deviation = deviation_of(certainty.families.back().residuals);
  CHECK(*certainty.find("one", "here")->deviation * bar_reach() == Approx(0.9));
  const Certainty less = certainty.without("case 4");
  CHECK(*less.find("one", "here")->deviation * bar_reach() == Approx(0.1));
  CHECK(less.without("case 0").find("one", "here") == nullptr);
  CHECK(certainty.find("one", "there") == nullptr);
}
