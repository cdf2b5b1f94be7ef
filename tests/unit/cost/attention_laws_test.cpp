// What a fused attention and a weight gradient take beyond their products: laws of the roofline by hand.
#include <catch2/catch.hpp>

#include "models/cost/roofline.hpp"

using namespace moesim;
using namespace moesim::literals;

namespace {

/// Ten multiprocessors of 1 TFLOPS, one tile, no overhead.
Device plain() {
  Device made;
  made.name = "plain";
  made.multiprocessors = 10;
  made.memory_bandwidth = 1000_GBps;
  made.cache_bandwidth = 4000_GBps;
  GemmBehaviour& gemm = made.gemm[static_cast<std::size_t>(Precision::bf16)];
  gemm.peak = 10_TFLOPS;
  gemm.feed = 1000000_GBps;
  gemm.tiles = {{.rows = 128, .columns = 128}};
  made.attention_forward.score_rate = made.attention_backward.score_rate = 1e18;
  return made;
}

double seconds(const Op& op, const Device& on) { return to_seconds(make_roofline()->time(op, on, 0).time); }

/// One tile of 128 queries with as many keys: 2 x 128 x 128 x (head + value) operations on one
/// multiprocessor.
Op one_tile(std::int64_t head, std::int64_t value) {
  return make_attention(OpPass::forward,
                        {.batch = 1,
                         .heads = 1,
                         .kv_heads = 1,
                         .sequence = 128,
                         .kv_sequence = 128,
                         .head_dim = head,
                         .value_head_dim = value},
                        Precision::bf16);
}

}  // namespace

TEST_CASE(
    "Of products and softmax of an attention the longer counts, and what it does not hide of the other") {
  Device on = plain();
  const double products = 2.0 * 128 * 128 * 128 / 1e12, scores = 128.0 * 128 / 2e9;
  on.attention_forward.score_rate = 2e9;
  CHECK(seconds(one_tile(64, 64), on) == Approx(products + scores).epsilon(1e-6));
  on.attention_forward.unhidden = 0.25;
  CHECK(seconds(one_tile(64, 64), on) == Approx(scores + 0.25 * products).epsilon(1e-6));
  on.attention_forward.unhidden = 0;
  CHECK(seconds(one_tile(64, 64), on) == Approx(scores).epsilon(1e-6));
}

TEST_CASE("Heads of more than 128 reach a share of the rate, others all of it") {
  Device on = plain();
  const double narrow = seconds(one_tile(128, 128), on), wide = seconds(one_tile(192, 128), on);
  on.attention_forward.wide = 0.8;
  CHECK(seconds(one_tile(128, 128), on) == narrow);
  CHECK(seconds(one_tile(192, 128), on) == Approx(wide / 0.8).epsilon(1e-6));
}

TEST_CASE("The power limit holds an attention at its own rate once all multiprocessors are busy") {
  Device on = plain();
  Op op = one_tile(128, 128);
  op.heads = 100;
  const double flops = 100 * 2.0 * 128 * 128 * 256;
  on.attention_forward.sustained = 0.25;
  CHECK(seconds(op, on) == Approx(flops / 2.5e12).epsilon(1e-6));
  CHECK(seconds(one_tile(128, 128), on) == seconds(one_tile(128, 128), plain()));
}

TEST_CASE("A weight gradient waits for its sums: a share of 8 bytes an element after the products") {
  Device on = plain();
  const Op gradient = make_gemm("", OpPass::backward_weight, 1280, 128, 4096, Precision::bf16);
  const Op product = make_gemm("", OpPass::forward, 1280, 128, 4096, Precision::bf16);
  const double before = seconds(gradient, on), forward = seconds(product, on);
  CHECK(before == Approx(forward).epsilon(1e-3));
  on.gemm[static_cast<std::size_t>(Precision::bf16)].exposed_sums = 0.5;
  CHECK(seconds(product, on) == forward);
  CHECK(seconds(gradient, on) - before == Approx(0.5 * 8 * 1280 * 128 / 1e12).epsilon(1e-3));
  const Op experts =
      make_grouped_gemm("", OpPass::backward_weight, {4096, 4096, 0}, 1280, 128, Precision::bf16);
  const double with = seconds(experts, on);
  CHECK(with - seconds(experts, plain()) == Approx(2 * 0.5 * 8 * 1280 * 128 / 1e12).epsilon(1e-3));
}

TEST_CASE("Sinks cost a kernel backward, and nothing forward") {
  AttentionShape shape{.batch = 2,
                       .heads = 64,
                       .kv_heads = 8,
                       .sequence = 4096,
                       .kv_sequence = 4096,
                       .head_dim = 64,
                       .value_head_dim = 64,
                       .window = 128};
  const Op plain_forward = make_attention(OpPass::forward, shape, Precision::bf16);
  const Op plain_backward = make_attention(OpPass::backward_input, shape, Precision::bf16);
  shape.sinks = true;
  const Op forward = make_attention(OpPass::forward, shape, Precision::bf16);
  const Op backward = make_attention(OpPass::backward_input, shape, Precision::bf16);
  CHECK(forward.bytes == plain_forward.bytes);
  CHECK(forward.kernels == plain_forward.kernels);
  CHECK(backward.kernels == plain_backward.kernels + 1);
  CHECK(backward.bytes.count - plain_backward.bytes.count == std::int64_t{8} * 2 * 64 * 4096);
}
