// DeepSeek's kernels, as the published training trace has them (deepseek-ai/profile-data, train.json).
#include <catch2/catch.hpp>

#include "models/config/document.hpp"
#include "models/cost/roofline.hpp"
#include "models/software/software.hpp"
#include "tests/support/devices.hpp"

using namespace moesim;

namespace {

std::vector<Op> kernels_of(const Op& op) {
  const Value document = parse_json(R"({"kind": "deepseek"})", "test");
  Reader reader(document, "software");
  std::vector<Op> kernels;
  make_member(reader, softwares(), "software")->add_kernels(op, kernels);
  return kernels;
}

double microseconds(const std::vector<Op>& kernels) {
  Time sum;
  for (const Op& kernel : kernels)
    sum += make_roofline()->time(kernel, testing::device("h800.json"), 20).time;
  return to_seconds(sum) * 1e6;
}

Op streaming(Module module, OpPass pass, std::int64_t rows, std::int64_t width, double bytes) {
  return make_streaming(OpKind::elementwise, "op", pass, rows, width, bytes, module);
}

}  // namespace

TEST_CASE("Casts, norms and activations take what the trace of DeepSeek's training has, within 15 %") {
  const auto cast = [](std::int64_t width) {
    return streaming(Module::cast, OpPass::forward, 4096, width, 3);
  };
  CHECK(microseconds(kernels_of(cast(7168))) == Approx(52 + 12).epsilon(0.15));
  CHECK(microseconds(kernels_of(cast(16384))) == Approx(94 + 9).epsilon(0.15));
  const Op norm = streaming(Module::norm, OpPass::forward, 4096, 7168, 4);
  CHECK(microseconds(kernels_of(norm)) == Approx(116).epsilon(0.15));
  const Op activation = streaming(Module::expert_activation, OpPass::forward, 30976, 2048, 6);
  CHECK(microseconds(kernels_of(activation)) == Approx(131).epsilon(0.15));
}

TEST_CASE(
    "A weight gradient in fp8 reaches 690 TFLOPS on 112 multiprocessors, in bf16 what the device does") {
  const Op fp8 = make_gemm("output", OpPass::backward_weight, 7168, 16384, 4096, Precision::fp8);
  CHECK(microseconds(kernels_of(fp8)) == Approx(2.0 * 7168 * 16384 * 4096 / 690e6).epsilon(0.01));
  const Op bf16 = make_gemm("router", OpPass::backward_weight, 7168, 256, 4096, Precision::bf16);
  REQUIRE(kernels_of(bf16).size() == 1);
  CHECK(kernels_of(bf16).front().access.share == 0);
}

TEST_CASE("On a device whose clock is not known a weight gradient goes as the device's products do") {
  const Op fp8 = make_gemm("output", OpPass::backward_weight, 7168, 16384, 4096, Precision::fp8);
  const Device device = testing::device("h800.json", {parse_override("cycle=0 s")});
  CHECK(make_roofline()->time(kernels_of(fp8).front(), device, 0).time ==
        make_roofline()->time(fp8, device, 0).time);
}

TEST_CASE("DeepEP takes tokens where they lie: nothing permutes them at home") {
  CHECK(kernels_of(streaming(Module::permute, OpPass::forward, 32768, 7168, 2)).empty());
  CHECK(kernels_of(streaming(Module::unpermute, OpPass::backward_input, 32768, 7168, 2)).empty());
}
