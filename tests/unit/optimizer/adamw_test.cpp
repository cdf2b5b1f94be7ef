// AdamW: states and passes counted by hand, and as PyTorch's kernels show them.
#include <catch2/catch.hpp>

#include "models/base/error.hpp"
#include "tests/support/plans.hpp"

using namespace moesim;
using testing::bytes_of;
using testing::in_bf16;
using testing::update_plan;

TEST_CASE("AdamW in one kernel moves each of its operands once, and writes parameters in bf16 beside") {
  const UpdatePlan plan = update_plan(R"({"kind": "adamw"})");
  REQUIRE(plan.passes.size() == 1);
  CHECK(bytes_of(plan) == 4 + 8 + 16 + 2);  // gradient, master weights, both moments, the copy
  CHECK(plan.states == HeldStates{.matrices = Bytes{12}, .rest = Bytes{12}, .factors = {}});
  CHECK(plan.working.all.count + plan.working.largest.count == 0);
}

TEST_CASE("AdamW without master weights changes the parameters themselves") {
  const UpdatePlan plan = update_plan(R"({"kind": "adamw", "master": false})", in_bf16);
  REQUIRE(plan.passes.size() == 1);
  CHECK(bytes_of(plan) == 14);
  CHECK(plan.states.matrices == Bytes{4});
}

TEST_CASE("The format of the moments is the optimizer's own where it is given, else the scenario's") {
  const UpdateForm form{.moments = Precision::bf16};
  CHECK(update_plan(R"({"kind": "adamw"})", form).states.rest == Bytes{4 + 2 * 2});
  CHECK(update_plan(R"({"kind": "adamw", "moments": "fp32"})", form).states.rest == Bytes{4 + 2 * 4});
}

TEST_CASE("Parameters in fp32 are master weights themselves") {
  const UpdatePlan plan = update_plan(R"({"kind": "adamw"})", {.parameter = Precision::fp32});
  CHECK(plan.states.matrices == Bytes{8});
  CHECK(bytes_of(plan) == 28);
}

TEST_CASE("A kernel that knows one format has casts before and after it") {
  UpdateForm form = in_bf16;
  form.moments = Precision::fp32;
  const UpdatePlan plan = update_plan(R"({"kind": "adamw"})", form);
  REQUIRE(plan.passes.size() == 3);
  CHECK(plan.passes[0].bytes == 6);
  CHECK(plan.passes[0].step == UpdateStep::widen);
  CHECK(plan.passes[1].bytes == 28);
  CHECK(plan.passes[2].bytes == 6);
  CHECK(plan.working.all == Bytes{4});  // gradients in fp32
}

TEST_CASE("Step by step AdamW has eight passes and temporaries") {
  const UpdatePlan lists =
      update_plan(R"({"kind": "adamw", "master": false, "implementation": "foreach"})", in_bf16);
  CHECK(lists.passes.size() == 8);
  CHECK(bytes_of(lists) == 40);
  CHECK(lists.working.all == Bytes{2});  // the roots of the second moments
  const UpdatePlan loop =
      update_plan(R"({"kind": "adamw", "master": false, "implementation": "for_loop"})", in_bf16);
  CHECK(bytes_of(loop) == 40);
  CHECK(loop.working.all == Bytes{});
  CHECK(loop.working.largest == Bytes{4});
}

TEST_CASE("Clipping reads the gradients, and reads and writes them") {
  const UpdatePlan plain = update_plan(R"({"kind": "adamw"})", in_bf16);
  const UpdatePlan clipped = update_plan(R"({"kind": "adamw", "clip": true})", in_bf16);
  CHECK(clipped.passes.size() == plain.passes.size() + 2);
  CHECK(bytes_of(clipped) == bytes_of(plain) + 2 + 4);
  CHECK(clipped.states == plain.states);
}

TEST_CASE("An unknown key of an optimizer is an error") {
  CHECK_THROWS_AS(update_plan(R"({"kind": "adamw", "momentum": true})"), InputError);
  CHECK_THROWS_AS(update_plan(R"({"kind": "adam"})"), InputError);
}
