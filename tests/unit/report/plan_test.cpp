// What runs that differ have in common.
#include "sim/report/plan.hpp"

#include <catch2/catch.hpp>

using namespace moesim;

TEST_CASE("Plans have in common the parts that all have, and of layouts the sizes") {
  CHECK(common_plan({}).empty());
  CHECK(common_plan({"PP 4 x EP 8, 1f1b, 2,048 x H800"}) == "PP 4 x EP 8, 1f1b, 2,048 x H800");
  CHECK(common_plan({"PP 4 x EP 8 x DP 16, 1f1b, microbatch 1", "PP 4 x EP 4 x DP 16, 1f1b, microbatch 2"}) ==
        "PP 4 x DP 16, 1f1b");
  CHECK(common_plan({"PP 4, gpipe, zero1", "PP 8, gpipe, zero1"}) == "gpipe, zero1");
  CHECK(common_plan({"EP 2, 1f1b, 64 x H100", "EP 2, gpipe, 128 x H100"}) == "EP 2");
}
