// Hugging Face models in eager PyTorch: the kernels that profiles of one H200 show
// (configs/validation/software-h200.json), counted by hand.
#include <catch2/catch.hpp>

#include "models/config/document.hpp"
#include "models/cost/roofline.hpp"
#include "models/software/software.hpp"
#include "models/transformer/layer_ops.hpp"
#include "tests/support/devices.hpp"

using namespace moesim;

namespace {

std::unique_ptr<const Software> software(const std::string& kind) {
  const Value document = parse_json(R"({"kind": ")" + kind + "\"}", "test");
  Reader reader(document, "software");
  return make_member(reader, softwares(), "software");
}

std::vector<Op> kernels_of(const Op& op) {
  std::vector<Op> kernels;
  software("hugging_face")->add_kernels(op, kernels);
  return kernels;
}

std::int64_t launches(const std::vector<Op>& kernels) {
  std::int64_t sum = 0;
  for (const Op& kernel : kernels) sum += kernel.kernels;
  return sum;
}

/// Microseconds on an H200 without the gaps between kernels.
double microseconds(const std::vector<Op>& kernels) {
  const Device h200 = testing::device("h200.json");
  Time sum;
  for (const Op& kernel : kernels)
    sum += make_roofline()->time(kernel, h200, 0).time - h200.launch_overhead * kernel.kernels;
  return to_seconds(sum) * 1e6;
}

/// A layer of Llama 3 8B on one device.
Model llama() {
  const Value document = parse_json(R"({"name": "llama", "hidden": 4096, "vocabulary": 128256, "layers": 4,
      "attention": {"kind": "grouped_query", "heads": 32, "kv_heads": 8}, "feed_forward": {"width": 14336}})",
                                    "test");
  Reader reader(document, "model");
  return read_model(reader);
}

Share share(const Software& software, std::int64_t tokens = 4096) {
  Share share;
  share.sequence_length = tokens;
  share.keeping = &software;
  return share;
}

Op norm(OpPass pass) {
  return make_streaming(OpKind::rms_norm, "norm", pass, 4096, 4096, pass == OpPass::forward ? 4 : 6,
                        Module::norm);
}

}  // namespace

TEST_CASE("Each kernel of a norm says which of PyTorch's it is") {
  std::string names;
  for (const Op& kernel : kernels_of(norm(OpPass::forward))) names += std::string(kernel.access.name) + ' ';
  CHECK(names == "widened one_read row_sums few row_factor vectorised broadcast ");
}

// 8 norms of 4 layers and a last one, 9 in all, took 228.4 us each forward and 499.7 us backward.
TEST_CASE("A norm is eight kernels forward and seventeen and a sum backward, as long as profiled") {
  CHECK(launches(kernels_of(norm(OpPass::forward))) == 8);
  CHECK(launches(kernels_of(norm(OpPass::backward_input))) == 18);
  CHECK(microseconds(kernels_of(norm(OpPass::forward))) == Approx(228.4).epsilon(0.03));
  CHECK(microseconds(kernels_of(norm(OpPass::backward_input))) == Approx(499.7).epsilon(0.05));
}

TEST_CASE("SwiGLU is two kernels forward and three backward, as long as profiled") {
  const auto swiglu = [](OpPass pass) {
    return make_streaming(OpKind::swiglu, "activation", pass, 4096, 14336, 6, Module::activation);
  };
  CHECK(kernels_of(swiglu(OpPass::forward)).size() == 2);
  CHECK(kernels_of(swiglu(OpPass::backward_input)).size() == 3);
  CHECK(microseconds(kernels_of(swiglu(OpPass::forward))) == Approx(141).epsilon(0.05));
  CHECK(microseconds(kernels_of(swiglu(OpPass::backward_input))) == Approx(243).epsilon(0.05));
}

// PyTorch's allocator: 5.528 GB for four layers, the head and the rotary tables.
TEST_CASE("A layer of Llama keeps what autograd saves, to the byte") {
  const std::unique_ptr<const Software> eager = software("hugging_face");
  const LayerOps ops = lower_layer(llama(), 0, share(*eager), {});
  constexpr std::int64_t t = 4096, h = 4096, a = 32, k = 8, d = 128, w = 14336;
  CHECK((ops.attention.activations + ops.feed_forward.activations).count ==
        16 * t * h + 8 * t + 4 * t * a * d + 4 * t * k * d + 4 * t * a + 8 * t * w);
  const LayerOps again = lower_layer(llama(), 0, share(*eager), {.full = true});
  CHECK((again.attention.activations + again.feed_forward.activations).count == 2 * t * h);
}

TEST_CASE("Queries, keys and values are products of their own, and so are the halves of a gate") {
  const std::unique_ptr<const Software> eager = software("hugging_face");
  const LayerOps ops = lower_layer(llama(), 0, share(*eager), {});
  double fused = 0, apart = 0;
  std::size_t products = 0;
  for (const BlockOps* block : {&ops.attention, &ops.feed_forward}) {
    for (const auto* pass : {&block->forward, &block->backward_input, &block->backward_weight}) {
      for (const Op& op : *pass) {
        if (op.kind != OpKind::gemm) continue;
        fused += op.flops.count;
        for (const Op& kernel : kernels_of(op)) {
          apart += kernel.flops.count;
          products += kernel.kind == OpKind::gemm ? 1 : 0;
        }
      }
    }
  }
  CHECK(apart == fused);
  CHECK(products == 3 * 7);  // q, k, v, output, gate, up and down, in three passes each
}

TEST_CASE("Every op of every member comes to kernels that take time, with the FLOPs of the op") {
  for (const Entry<Software>* member : softwares()) {
    const std::unique_ptr<const Software> one = software(std::string(member->name));
    const LayerOps ops = lower_layer(llama(), 0, share(*one), {});
    for (const BlockOps* block : {&ops.attention, &ops.feed_forward}) {
      for (const auto* pass : {&block->forward, &block->backward_input, &block->backward_weight}) {
        for (const Op& op : *pass) {
          INFO(member->name << ": " << op.name);
          std::vector<Op> kernels;
          one->add_kernels(op, kernels);
          double flops = 0;
          for (const Op& kernel : kernels) {
            flops += kernel.flops.count;
            CHECK(kernel.pass == op.pass);
            CHECK(kernel.part == op.part);
          }
          CHECK(flops == op.flops.count);
        }
      }
    }
  }
}
