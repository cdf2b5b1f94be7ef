// Programs of XLA: products with masks of ones, counted by hand, and laws of what they grow with.
#include <catch2/catch.hpp>

#include "models/config/document.hpp"
#include "models/cost/roofline.hpp"
#include "models/software/software.hpp"
#include "models/transformer/layer_ops.hpp"
#include "tests/support/devices.hpp"

using namespace moesim;

namespace {

std::unique_ptr<const Software> xla(const std::string& keys = R"({"kind": "xla"})") {
  const Value document = parse_json(keys, "test");
  Reader reader(document, "software");
  return make_member(reader, softwares(), "software");
}

std::vector<Op> kernels_of(const Op& op, const std::string& keys = R"({"kind": "xla"})") {
  std::vector<Op> kernels;
  xla(keys)->add_kernels(op, kernels);
  return kernels;
}

double flops(const std::vector<Op>& kernels) {
  double sum = 0;
  for (const Op& kernel : kernels) sum += kernel.flops.count;
  return sum;
}

double bytes(const std::vector<Op>& kernels) {
  double sum = 0;
  for (const Op& kernel : kernels) sum += static_cast<double>(kernel.bytes.count);
  return sum;
}

/// `groups` of S tokens of M numbers, E experts that take C of each.
struct Sizes4 {
  std::int64_t groups = 2, tokens = 1024, experts = 128, capacity = 10, width = 768;
};

Op between(Module module, OpPass pass, const Sizes4& s) {
  Op op =
      make_streaming(OpKind::permute, "rows", pass, s.groups * s.experts * s.capacity, s.width, 4, module);
  op.k = s.experts;
  op.batch = s.groups;
  op.sequence = s.tokens;
  return op;
}

double by_hand(const Sizes4& s) {
  return 2.0 * static_cast<double>(s.groups * s.tokens * s.experts * s.capacity * s.width);
}

}  // namespace

TEST_CASE(
    "Dispatch and combine are products of tokens of a group x E x C x M, and combine has one gradient more") {
  const Sizes4 s;
  CHECK(flops(kernels_of(between(Module::permute, OpPass::forward, s))) == by_hand(s));
  CHECK(flops(kernels_of(between(Module::permute, OpPass::backward_input, s))) == by_hand(s));
  CHECK(flops(kernels_of(between(Module::unpermute, OpPass::forward, s))) == by_hand(s));
  CHECK(flops(kernels_of(between(Module::unpermute, OpPass::backward_input, s))) == 2 * by_hand(s));
}

TEST_CASE("For the same tokens and capacity factor, groups of twice the size take twice the products") {
  const Sizes4 small, large{.groups = 1, .tokens = 2048, .capacity = 20};
  for (const Module module : {Module::permute, Module::unpermute}) {
    for (const OpPass pass : {OpPass::forward, OpPass::backward_input}) {
      CHECK(flops(kernels_of(between(module, pass, large))) ==
            2 * flops(kernels_of(between(module, pass, small))));
    }
  }
}

TEST_CASE("Both masks are kept: S E C numbers of each group, twice") {
  const Sizes4 s;
  Op dispatch = between(Module::permute, OpPass::forward, s);
  const double elements = static_cast<double>(s.groups * s.tokens * s.experts * s.capacity);
  CHECK(xla()->kept_by(dispatch) == 2 * 2 * elements);
  CHECK(xla(R"({"kind": "xla", "activations": "fp32"})")->kept_by(dispatch) == 2 * 4 * elements);
}

TEST_CASE("Places in buffers are a product with a triangle of S x S, or a scan that has no product") {
  Op router = make_streaming(OpKind::router, "router", OpPass::forward, 2048, 128, 6, Module::router);
  router.batch = 2;
  router.sequence = 1024;
  const double triangle = 2.0 * 2 * 1024 * 1024 * 128;
  CHECK(flops(kernels_of(router)) == triangle);
  router.top_k = 2;
  CHECK(flops(kernels_of(router)) == 2 * triangle);
  const std::string scans = R"({"kind": "xla", "cumulative_sums": "scan"})";
  CHECK(flops(kernels_of(router, scans)) == 0);
  // Gates' bytes grow with experts alone.
  Op wider = router;
  wider.n *= 16;
  CHECK(bytes(kernels_of(wider, scans)) == 16 * bytes(kernels_of(router, scans)));
}

TEST_CASE("Rows of an embedding come by a product over the vocabulary, and their gradient by another") {
  for (const OpPass pass : {OpPass::forward, OpPass::backward_weight}) {
    Op rows = make_streaming(OpKind::elementwise, "embedding", pass, 2504, 768, 4, Module::embedding);
    rows.k = 32128;
    CHECK(flops(kernels_of(rows)) == 2.0 * 2504 * 768 * 32128);
  }
}

TEST_CASE("A depth of 64 takes as long as one of 128, and what lies between tiles as the next") {
  const Device core = testing::device("tpu-v3.json");
  const auto time = [&](std::int64_t depth) {
    const std::vector<Op> kernels =
        kernels_of(make_gemm("scores", OpPass::forward, 4096, 4096, depth, Precision::bf16));
    REQUIRE(kernels.size() == 1);
    CHECK(kernels.front().flops.count == 2.0 * 4096 * 4096 * static_cast<double>(depth));
    return make_roofline()->time(kernels.front(), core, {}).time;
  };
  CHECK(time(1000) == time(1024));
  CHECK(time(1025) == time(1152));
  CHECK(time(1024) < time(1025));
}

TEST_CASE("Attention reads and writes its scores: of T5 in fp32, and more of them than of heads") {
  const Op core = make_attention(OpPass::forward,
                                 {.batch = 4,
                                  .heads = 12,
                                  .kv_heads = 12,
                                  .sequence = 512,
                                  .kv_sequence = 512,
                                  .head_dim = 64,
                                  .value_head_dim = 64,
                                  .causal = false},
                                 Precision::bf16);
  const double scores = 4.0 * 12 * 512 * 512, operands = 4.0 * 12 * 512 * 64;
  // Written, read for the maximum, the sum and the weights in fp32; weights written and read in bf16.
  CHECK(bytes(kernels_of(core)) == scores * (4 + 4 + 4 + 4 + 2 + 2) + operands * (4 + 4 + 2 + 2));
  CHECK(flops(kernels_of(core)) == Approx(core.flops.count));
}
