// Layers of each stage, whatever number of stages the list was written for.
#include <fmt/format.h>

#include <catch2/catch.hpp>
#include <numeric>

#include "sim/read/fit.hpp"
#include "sim/read/scenario.hpp"

using namespace moesim;

namespace {

using Layers = std::vector<std::int64_t>;

}  // namespace

TEST_CASE("Entries for fewer stages are cut as evenly as it goes, those for more are taken together") {
  CHECK(layers_of_stages({4, 4, 3}, 11, 3) == Layers{4, 4, 3});
  CHECK(layers_of_stages({4, 4, 3}, 11, 6) == Layers{2, 2, 2, 2, 2, 1});
  CHECK(layers_of_stages({4, 1}, 5, 6) == Layers{2, 1, 1, 1, 0, 0});
  CHECK(layers_of_stages({1, 2, 3, 4}, 10, 2) == Layers{3, 7});
  CHECK(layers_of_stages({}, 12, 3) == Layers{4, 4, 4});
  CHECK(!fits_layers({4, 4, 3}, 11, 6));
  CHECK(!fits_layers({4, 4, 3}, 11, 1));
  CHECK(fits_layers({4, 4, 3}, 11, 2));
  CHECK(fits_layers({4, 4, 3}, 12, 6));
}

TEST_CASE("The layers of DeepSeek-V3's 16 pipeline ranks go with every schedule") {
  for (const Entry<Schedule>* kind : schedules()) {
    CAPTURE(kind->name);
    const Scenario scenario =
        load_scenario(MOESIM_SOURCE "/scenarios/deepseek-v3-h800.json",
                      {parse_override(fmt::format(R"(schedule={{"kind": "{}"}})", kind->name))});
    const Layers& layers = scenario.layers_per_stage;
    CHECK(std::ssize(layers) == scenario.stages());
    CHECK(std::accumulate(layers.begin(), layers.end(), std::int64_t{0}) ==
          std::ssize(scenario.model.layers));
  }
}
