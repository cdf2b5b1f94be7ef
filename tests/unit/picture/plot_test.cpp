// Pictures of sweeps: their scales, and that nothing of a sweep is missing in them.
#include "sim/picture/plot.hpp"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>

#include "models/base/random.hpp"
#include "sim/picture/svg.hpp"

using namespace moesim;

namespace {

std::size_t count_of(const std::string& word, const std::string& text) {
  std::size_t count = 0;
  for (std::size_t at = text.find(word); at != std::string::npos; at = text.find(word, at + 1)) ++count;
  return count;
}

CurvePlot two_curves() {
  const PlotAxis across{.label = "ranks", .names = {"8", "16", "32"}, .numbers = {8, 16, 32}};
  return {.title = "Two & more",
          .across = across,
          .legend = "kind",
          .panels = {{.quantity = {.label = "step time", .unit = "s"},
                      .curves = {{"first", {{1.0}, {2.0}, {3.0, false}}}, {"second", {{3.0}, {}, {1.0}}}}}}};
}

}  // namespace

TEST_CASE("A scale holds all its numbers, and its marks are round and in order") {
  RandomStream random = Random(7).stream("scales");
  for (int trial = 0; trial < 500; ++trial) {
    std::vector<double> numbers;
    const double size = std::pow(10.0, 12 * random.uniform() - 6);
    for (std::uint64_t i = 0; i < 1 + random.below(6); ++i) numbers.push_back(size * random.uniform());
    const PlotScale scale = scale_of(numbers, random.below(2) == 0);
    CAPTURE(numbers, scale.marks);
    for (const double number : numbers) {
      CHECK(scale.place(number) >= -1e-9);
      CHECK(scale.place(number) <= 1 + 1e-9);
    }
    CHECK(std::is_sorted(scale.marks.begin(), scale.marks.end()));
    CHECK(scale.marks.size() >= 2);
    CHECK(scale.marks.size() <= 12);
    for (const double mark : scale.marks) CHECK(print_number(mark).size() <= 9);
  }
}

TEST_CASE("Values are on a logarithm where they span more than a factor of thirty, and none is zero") {
  CHECK(scale_of({1, 31}, true).is_logarithmic);
  CHECK(!scale_of({1, 29}, true).is_logarithmic);
  CHECK(!scale_of({0, 31}, true).is_logarithmic);
  CHECK(scale_of({2, 29}, true).low == 0);
}

TEST_CASE("An axis is on a logarithm where it doubles") {
  const auto is_logarithmic = [](std::vector<double> numbers) {
    return PlotAxis{.label = {}, .names = {}, .numbers = std::move(numbers)}.is_logarithmic();
  };
  CHECK(is_logarithmic({1, 2, 4, 8}));
  CHECK(is_logarithmic({10, 20, 50, 100}));
  CHECK(!is_logarithmic({1, 2, 3}));
  CHECK(!is_logarithmic({0, 1, 2, 4}));
  CHECK(!is_logarithmic({1, 2}));
  CHECK(!is_logarithmic({}));
}

TEST_CASE("Curves have a mark for each value, a cross for each failure, and a legend") {
  const std::string svg = draw_svg(two_curves());
  CHECK(count_of("<circle", svg) == 3 + 1 + 1);  // three values, in the legend, and what does not fit
  CHECK(count_of("fill=\"#fff\" stroke=", svg) == 2);
  CHECK(count_of("l7 7m0 -7l-7 7", svg) == 1 + 1);  // and in the legend
  for (const std::string words : {">first<", ">second<", ">kind<", ">ranks<", ">step time (s)<",
                                  ">does not fit<", ">fails<", "<title>Two &amp; more</title>"}) {
    CAPTURE(words);
    CHECK(svg.find(words) != std::string::npos);
  }
}

TEST_CASE("Curves that lie on each other are one with both names") {
  CurvePlot plot = two_curves();
  plot.panels[0].curves[1].values = plot.panels[0].curves[0].values;
  const std::string svg = draw_svg(plot);
  CHECK(svg.find(">first, second<") != std::string::npos);
  CHECK(svg.find(">first<") == std::string::npos);
}

TEST_CASE("A heat map has a cell for each point, says its value, and marks the best that fits") {
  const PlotAxis across{.label = "a", .names = {"1", "2", "4"}, .numbers = {1, 2, 4}};
  const PlotAxis up{.label = "b", .names = {"x", "y"}, .numbers = {}};
  HeatMap map{.title = "Map",
              .across = across,
              .up = up,
              .panels = {{.quantity = {.label = "rate", .unit = "1/s", .more_is_better = true},
                          .values = {{10.0}, {20.0}, {30.0}, {40.0}, {50.0, false}, {}}}}};
  const std::string most = draw_svg(map);
  CHECK(count_of("class=\"cell\"", most) == 6);
  for (const std::string value : {">10.0<", ">20.0<", ">30.0<", ">40.0<", ">50.0<"}) {
    CAPTURE(value);
    CHECK(most.find(value) != std::string::npos);
  }
  CHECK(count_of("class=\"best\"", most) == 2);
  CHECK(most.find(">best that fits<") != std::string::npos);
  CHECK(most.find(">does not fit in memory<") != std::string::npos);
  map.panels[0].quantity.more_is_better = false;
  const std::string least = draw_svg(map);
  CHECK(most.substr(0, most.find("class=\"best\"")) == least.substr(0, least.find("class=\"best\"")));
  CHECK(most != least);
}

TEST_CASE("Long texts are broken between words, and nothing of them is lost") {
  const std::string text = "what the capacity factor drops and averyveryverylongword that has no end";
  std::string joined;
  for (const std::string& line : lines_of(text, 12)) {
    CHECK(line.size() <= 12);
    joined += line;
  }
  std::string solid = text;
  std::erase(solid, ' ');
  std::erase(joined, ' ');
  CHECK(joined == solid);
  CHECK(lines_of("", 12).empty());
}
