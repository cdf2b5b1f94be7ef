// Adafactor: states of rows and columns, and norms that the host reads.
#include <catch2/catch.hpp>

#include "tests/support/plans.hpp"

using namespace moesim;
using testing::bytes_of;
using testing::in_bf16;
using testing::update_plan;

TEST_CASE("Adafactor holds nothing for each parameter but master weights") {
  const UpdatePlan plan = update_plan(R"({"kind": "adafactor"})");
  CHECK(plan.states == HeldStates{.matrices = Bytes{4}, .rest = Bytes{4}, .factors = Bytes{4}});
  const UpdatePlan alone = update_plan(R"({"kind": "adafactor", "master": false})", in_bf16);
  CHECK(alone.states == HeldStates{.factors = Bytes{2}});
}

TEST_CASE("Adafactor in fused kernels reads gradients three times, and parameters twice") {
  CHECK(bytes_of(update_plan(R"({"kind": "adafactor", "master": false})", in_bf16)) == 3 * 2 + 3 * 2);
}

TEST_CASE("Adafactor step by step lets the host read two norms of each tensor") {
  for (const std::string way : {"foreach", "for_loop"}) {
    const UpdatePlan plan =
        update_plan(R"({"kind": "adafactor", "master": false, "implementation": ")" + way + "\"}", in_bf16);
    std::int64_t waits = 0;
    for (const UpdatePass& pass : plan.passes) waits += pass.waits;
    CHECK(waits == 2);
    CHECK(bytes_of(plan) > bytes_of(update_plan(R"({"kind": "adafactor", "master": false})", in_bf16)));
  }
}
