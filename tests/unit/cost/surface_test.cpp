// A surface through measurements, and how sure it is of what it says.
#include "models/cost/surface.hpp"

#include <catch2/catch.hpp>
#include <cmath>

using namespace moesim;

namespace {

const SurfaceShape shape{
    .slow_length = 4, .slow_deviation = 0.3, .fast_length = 1.5, .fast_deviation = 0.1, .noise = 0.02};

/// Places along a line, with values that no line goes through.
struct Line {
  std::vector<SurfacePoint> places;
  std::vector<double> values;
};

Line line(std::size_t count) {
  Line all;
  for (std::size_t i = 0; i < count; ++i) {
    all.places.push_back({static_cast<double>(i)});
    all.values.push_back(0.1 * std::sin(static_cast<double>(i * i)));
  }
  return all;
}

Line without(Line all, std::size_t i) {
  all.places.erase(all.places.begin() + static_cast<std::ptrdiff_t>(i));
  all.values.erase(all.values.begin() + static_cast<std::ptrdiff_t>(i));
  return all;
}

}  // namespace

TEST_CASE("A surface is surer near its measurements, and far from all as sure as its shape") {
  const Line all = line(8);
  const Surface surface(all.places, all.values, shape);
  CHECK(surface.deviation({3}) >= shape.noise);
  CHECK(surface.deviation({3}) < surface.deviation({3.5}));
  CHECK(surface.deviation({3.5}) < surface.deviation({9}));
  CHECK(surface.deviation({9}) < surface.deviation({1000}));
  CHECK(surface.deviation({1000}) == Approx(std::hypot(0.3, 0.1, 0.02)));
  CHECK(Surface({}, {}, shape).deviation({0}) == Approx(std::hypot(0.3, 0.1, 0.02)));
}

TEST_CASE("A measurement left out is as far off, and expected as far, as by the surface through the others") {
  const Line all = line(8);
  Surface surface(all.places, all.values, shape);
  surface.judge();
  for (std::size_t i = 0; i < all.places.size(); ++i) {
    const Line others = without(all, i);
    const Surface rest(others.places, others.values, shape);
    CHECK(surface.left_out()[i] == Approx(all.values[i] - rest.at(all.places[i])).epsilon(1e-6));
    CHECK(surface.left_out_deviations()[i] == Approx(rest.deviation(all.places[i])).epsilon(1e-6));
  }
}
