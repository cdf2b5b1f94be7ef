// Stochastic gradient descent, with momentum and without.
#include <catch2/catch.hpp>

#include "tests/support/plans.hpp"

using namespace moesim;
using testing::bytes_of;
using testing::in_bf16;
using testing::update_plan;

TEST_CASE("SGD holds a state of each parameter, or none") {
  const UpdatePlan with = update_plan(R"({"kind": "sgd", "master": false})", in_bf16);
  const UpdatePlan without = update_plan(R"({"kind": "sgd", "master": false, "momentum": false})", in_bf16);
  CHECK(with.states.matrices == Bytes{2});
  CHECK(without.states == HeldStates{});
  CHECK(bytes_of(with) == bytes_of(without) + 4);
}

TEST_CASE("SGD over lists has the three kernels of PyTorch") {
  const UpdatePlan plan =
      update_plan(R"({"kind": "sgd", "master": false, "implementation": "foreach"})", in_bf16);
  REQUIRE(plan.passes.size() == 3);
  CHECK(bytes_of(plan) == 4 + 6 + 6);
  CHECK(plan.working.all == Bytes{});
}
