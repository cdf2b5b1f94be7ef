// Muon: momentum of matrices, AdamW for the rest, and the products of Newton and Schulz.
#include <catch2/catch.hpp>

#include "models/optimizer/newton_schulz.hpp"
#include "tests/support/plans.hpp"

using namespace moesim;
using testing::bytes_of;
using testing::in_bf16;
using testing::update_plan;

namespace {

double flops_of(const std::vector<Repeated>& ops) {
  double flops = 0;
  for (const Repeated& one : ops) flops += one.times * one.op.flops.count;
  return flops;
}

double launches_of(const std::vector<Repeated>& ops, bool products) {
  double launches = 0;
  for (const Repeated& one : ops)
    if ((one.op.kind == OpKind::gemm) == products) launches += one.times;
  return launches;
}

}  // namespace

TEST_CASE("Muon holds one state of each matrix and two of the rest") {
  const UpdatePlan plan = update_plan(R"({"kind": "muon"})");
  CHECK(plan.states == HeldStates{.matrices = Bytes{4 + 4}, .rest = Bytes{4 + 8}, .factors = {}});
  CHECK(plan.iterations == 5);
}

TEST_CASE("Muon changes embedding, head and norms as AdamW does") {
  const UpdatePlan muon = update_plan(R"({"kind": "muon", "master": false})", in_bf16);
  const UpdatePlan adamw = update_plan(R"({"kind": "adamw", "master": false})", in_bf16);
  CHECK(bytes_of(muon, Over::rest) == bytes_of(adamw));
  CHECK(bytes_of(muon, Over::matrices) == 2 + 4 + 2 + 2 + 4);
}

TEST_CASE("An iteration of Newton and Schulz is three products of the shorter side") {
  const double n = 512, m = 2048;
  for (const auto& [rows, columns] : {std::pair{512, 2048}, std::pair{2048, 512}}) {
    const auto one = newton_schulz(rows, columns, 1, Walk::fused);
    CHECK(flops_of(one) == 2 * (2 * n * n * m + n * n * n));
    CHECK(flops_of(newton_schulz(rows, columns, 5, Walk::fused)) == 5 * flops_of(one));
    CHECK(launches_of(one, true) == 3);
  }
}

TEST_CASE("Step by step products copy what they add to, and a tall matrix is turned there and back") {
  CHECK(launches_of(newton_schulz(512, 2048, 5, Walk::fused), false) == 2);
  CHECK(launches_of(newton_schulz(512, 2048, 5, Walk::tensors), false) == 2 + 10);
  CHECK(launches_of(newton_schulz(2048, 512, 5, Walk::tensors), false) == 2 + 10 + 1);
  for (const Repeated& one : newton_schulz(2048, 512, 5, Walk::tensors))
    CHECK(one.op.kernel_class == KernelClass::update);
}
