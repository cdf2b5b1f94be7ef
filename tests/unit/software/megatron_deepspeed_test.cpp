// Kernels and waits of a GPT layer in Megatron-DeepSpeed, as its code has them.
#include <catch2/catch.hpp>

#include "models/config/document.hpp"
#include "models/software/software.hpp"
#include "models/transformer/layer_ops.hpp"

using namespace moesim;

namespace {

std::unique_ptr<const Software> software(const std::string& keys = "") {
  const Value document = parse_json(R"({"kind": "megatron_deepspeed")" + keys + "}", "test");
  Reader reader(document, "software");
  return make_member(reader, softwares(), "software");
}

Model gpt() {
  const Value document = parse_json(R"({"name": "gpt", "hidden": 1024, "vocabulary": 50304, "layers": 1,
      "positions": 1024, "norm": "layer_norm",
      "attention": {"kind": "multi_head", "heads": 16, "qkv_bias": true, "output_bias": true},
      "feed_forward": {"kind": "two_matrix", "width": 4096, "bias": true}})",
                                    "test");
  Reader reader(document, "model");
  return read_model(reader);
}

struct Launched {
  std::int64_t kernels = 0, waits = 0;
};

Launched launched(const std::vector<Op>& ops, const Software& by) {
  Launched sum;
  for (const Op& op : ops) {
    std::vector<Op> kernels;
    by.add_kernels(op, kernels);
    for (const Op& kernel : kernels) {
      sum.kernels += kernel.kernels;
      sum.waits += kernel.waits;
    }
  }
  return sum;
}

struct LayerLaunches {
  Launched forward, backward;
};

LayerLaunches launches_of(const Software& by, bool dropout = true) {
  const Share share{
      .sequence_length = 1024, .dropout = dropout, .fusion = by.habits().fusion, .keeping = &by};
  const LayerOps layer = lower_layer(gpt(), 0, share, {});
  LayerLaunches sum;
  for (const BlockOps* block : {&layer.attention, &layer.feed_forward}) {
    const auto add = [](Launched& to, const Launched& more) {
      to.kernels += more.kernels;
      to.waits += more.waits;
    };
    add(sum.forward, launched(block->forward, by));
    add(sum.backward, launched(block->backward_input, by));
    add(sum.backward, launched(block->backward_weight, by));
  }
  return sum;
}

}  // namespace

TEST_CASE("A GPT layer of Megatron-DeepSpeed is 16 launches and two waits forward, 32 launches backward") {
  const LayerLaunches layer = launches_of(*software());
  CHECK(layer.forward.kernels == 16);
  CHECK(layer.forward.waits == 2);
  CHECK(layer.backward.kernels == 32);
  CHECK(layer.backward.waits == 0);
}

TEST_CASE("What Megatron-DeepSpeed does not fuse, it launches one by one") {
  const auto more = [](const std::string& keys) {
    return launches_of(*software(keys)).forward.kernels - launches_of(*software()).forward.kernels;
  };
  CHECK(more(R"(, "masked_softmax_fusion": false)") == 4);
  CHECK(more(R"(, "bias_gelu_fusion": false)") == 1);
  CHECK(more(R"(, "bias_dropout_fusion": false)") == 4);
  CHECK(launches_of(*software(), false).forward.kernels == 15);
}

TEST_CASE("Gradients of weights are written in 16 bits, and added to earlier ones by kernels of their own") {
  const auto megatron = software();
  const Op gradient = make_gemm("", OpPass::backward_weight, 1024, 512, 2048, Precision::bf16);
  std::vector<Op> kernels;
  megatron->add_kernels(gradient, kernels);
  REQUIRE(kernels.size() == 1);
  CHECK(gradient.bytes.count - kernels.front().bytes.count == 6 * 1024 * 512);
  CHECK(megatron->habits().adds_gradients);
}
