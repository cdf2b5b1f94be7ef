// Software without fused kernels: attention and grouped products as kernels of their own.
#include "models/software/separate.hpp"

#include <catch2/catch.hpp>
#include <tuple>

#include "models/config/document.hpp"
#include "models/cost/roofline.hpp"
#include "models/software/software.hpp"
#include "tests/support/devices.hpp"

using namespace moesim;

namespace {

Device a100() { return testing::device("a100.json"); }

Time time_with(const std::string& json, const Op& op) {
  const Value document = parse_json(json, "test");
  Reader reader(document, "software");
  std::vector<Op> kernels;
  make_member(reader, softwares(), "software")->add_kernels(op, kernels);
  Time sum;
  for (const Op& kernel : kernels) sum += make_roofline()->time(kernel, a100(), 0).time;
  return sum;
}

const std::string fused = R"({"kind": "ideal"})";
const std::string separate = R"({"kind": "file", "attention": "separate"})";
const std::string each = R"({"kind": "file", "grouped_gemm": "kernel_each"})";

Op attention(OpPass pass, std::int64_t sequence, bool dropout = true) {
  return make_attention(pass,
                        {.batch = 2,
                         .heads = 12,
                         .kv_heads = 12,
                         .sequence = sequence,
                         .kv_sequence = sequence,
                         .head_dim = 128,
                         .value_head_dim = 128,
                         .dropout = dropout},
                        Precision::bf16);
}

double bytes_of(const std::vector<Op>& kernels, OpKind kind) {
  double bytes = 0;
  for (const Op& kernel : kernels) bytes += kernel.kind == kind ? static_cast<double>(kernel.bytes.count) : 0;
  return bytes;
}

double flops_of(const std::vector<Op>& kernels) {
  double flops = 0;
  for (const Op& kernel : kernels) flops += kernel.flops.count;
  return flops;
}

}  // namespace

TEST_CASE("Separate attention multiplies the whole square and moves the scores through softmax and dropout") {
  const double scores = 2.0 * 12 * 2048 * 2048;
  const std::vector<Op> forward = separate_attention(attention(OpPass::forward, 2048));
  CHECK(flops_of(forward) == Approx(4 * scores * 128));
  CHECK(bytes_of(forward, OpKind::elementwise) == Approx(9 * scores));
  const std::vector<Op> backward = separate_attention(attention(OpPass::backward_input, 2048));
  CHECK(flops_of(backward) == Approx(8 * scores * 128));
  CHECK(bytes_of(backward, OpKind::elementwise) == Approx(11 * scores));
  for (const Op& kernel : backward) CHECK(kernel.pass == OpPass::backward_input);
  const std::vector<Op> plain = separate_attention(attention(OpPass::forward, 2048, false));
  CHECK(bytes_of(plain, OpKind::elementwise) == Approx(4 * scores));
  CHECK(bytes_of(separate_attention(attention(OpPass::backward_input, 2048, false)), OpKind::elementwise) ==
        Approx(6 * scores));
}

TEST_CASE("Separate attention is slower than a fused one, the more so the longer the sequence") {
  double before = 1;
  for (const std::int64_t sequence : {1024, 2048, 4096}) {
    const Op op = attention(OpPass::forward, sequence);
    const double ratio = time_with(separate, op) / time_with(fused, op);
    CAPTURE(sequence);
    CHECK(ratio > before);
    before = ratio;
  }
}

TEST_CASE("A kernel for each expert takes the sum of its products, those without rows left out") {
  const Op grouped =
      make_grouped_gemm("experts", OpPass::forward, {300, 0, 700}, 4096, 1024, Precision::bf16);
  const Time sum = time_with(fused, make_gemm("one", OpPass::forward, 300, 4096, 1024, Precision::bf16)) +
                   time_with(fused, make_gemm("one", OpPass::forward, 700, 4096, 1024, Precision::bf16));
  CHECK(time_with(each, grouped) == sum);
  const Op weights =
      make_grouped_gemm("experts", OpPass::backward_weight, {300, 700}, 4096, 1024, Precision::bf16);
  CHECK(flops_of(separate_products(weights)) == Approx(weights.flops.count));
  CHECK(time_with(each, weights) > Time{});
}

TEST_CASE("A norm whose weights have a kernel of their own reads gradient and input twice in backward") {
  const std::string apart = R"({"kind": "file", "norm_backward": "separate"})";
  const auto norm = [](OpPass pass, double bytes) {
    return make_streaming(OpKind::rms_norm, "norm", pass, 8192, 8192, bytes);
  };
  CHECK(time_with(apart, norm(OpPass::forward, 4)) == time_with(fused, norm(OpPass::forward, 4)));
  const Op backward = norm(OpPass::backward_input, 6);
  const Op twice = norm(OpPass::backward_input, 10);
  CHECK(time_with(apart, backward) / time_with(fused, twice) == Approx(1).epsilon(0.01));
}

// index_add_ in bf16 on an H200 (PyTorch 2.11): 8,192 x 4,096 elements 340 us, 24,640 x 5,120 983 us.
TEST_CASE("Rows that are scaled and scattered take the time of their atomic additions besides their bytes") {
  const std::string apart = R"({"kind": "file", "permutation": "separate"})";
  for (const auto& [rows, width, microseconds] :
       {std::tuple{8192, 4096, 340.0}, std::tuple{24640, 5120, 983.0}}) {
    const Op back =
        make_streaming(OpKind::unpermute, "rows", OpPass::backward_input, rows, width, 2 + 2.0 / 6);
    const Op forth = make_streaming(OpKind::unpermute, "rows", OpPass::forward, rows, width, 2 + 2.0 / 6);
    CHECK(to_seconds(time_with(apart, back)) * 1e6 == Approx(microseconds).epsilon(0.2));
    CHECK(time_with(apart, forth) > time_with(apart, back));
    CHECK(time_with(fused, back) < time_with(apart, back));
  }
}

TEST_CASE("A gather reads a row as often as it writes it, a fused permutation once") {
  const std::string apart = R"({"kind": "file", "permutation": "separate"})";
  const auto spread = [](std::int64_t top_k, double bytes) {
    Op op = make_streaming(OpKind::permute, "rows", OpPass::forward, 8192, 4096, bytes);
    op.top_k = top_k;
    return op;
  };
  CHECK(time_with(apart, spread(1, 4)) == time_with(fused, spread(1, 4)));
  CHECK(time_with(apart, spread(8, 2.25)) == time_with(fused, spread(1, 4)));
  CHECK(time_with(fused, spread(8, 2.25)) < time_with(apart, spread(8, 2.25)));
}
