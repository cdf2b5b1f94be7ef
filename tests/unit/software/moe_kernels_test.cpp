// Experts in eager PyTorch: rows by index and back, counted by hand.
#include <catch2/catch.hpp>

#include "models/config/document.hpp"
#include "models/software/software.hpp"
#include "models/transformer/layer_ops.hpp"

using namespace moesim;

namespace {

std::unique_ptr<const Software> hugging_face() {
  const Value document = parse_json(R"({"kind": "hugging_face"})", "test");
  Reader reader(document, "software");
  return make_member(reader, softwares(), "software");
}

/// Two layers of Mixtral on one device.
Model mixtral() {
  const Value document = parse_json(R"({"name": "mixtral", "hidden": 4096, "vocabulary": 32000, "layers": 2,
      "attention": {"kind": "grouped_query", "heads": 32, "kv_heads": 8},
      "moe": {"experts": 8, "top_k": 2, "width": 14336}})",
                                    "test");
  Reader reader(document, "model");
  return read_model(reader);
}

/// Bytes that the kernels of a module move in one pass of a layer.
double bytes_of(const LayerOps& ops, Module module, OpPass pass, KernelClass of_class) {
  const std::unique_ptr<const Software> eager = hugging_face();
  double bytes = 0;
  for (const BlockOps* block : {&ops.attention, &ops.feed_forward}) {
    for (const Op& op : pass == OpPass::forward ? block->forward : block->backward_input) {
      std::vector<Op> kernels;
      if (op.module == module) eager->add_kernels(op, kernels);
      for (const Op& kernel : kernels)
        bytes += kernel.kernel_class == of_class ? static_cast<double>(kernel.bytes.count) : 0;
    }
  }
  return bytes;
}

}  // namespace

TEST_CASE("Rows of experts are gathered, masked and added up at their tokens, which are fewer") {
  const std::unique_ptr<const Software> eager = hugging_face();
  constexpr std::int64_t tokens = 4096, hidden = 4096, top_k = 2, rows = tokens * top_k, width = 14336;
  const std::vector<std::int64_t> of_experts(8, rows / 8);
  const Share share{
      .sequence_length = tokens, .expert_rows = of_experts, .dispatched_rows = rows, .keeping = eager.get()};
  const LayerOps ops = lower_layer(mixtral(), 0, share, {});
  constexpr double n = rows * hidden, t = tokens * hidden, g = rows * width;
  const auto gathers = [&](Module module, OpPass pass) {
    return bytes_of(ops, module, pass, KernelClass::gather_scatter);
  };
  const auto streams = [&](Module module, OpPass pass) {
    return bytes_of(ops, module, pass, KernelClass::streaming);
  };
  CHECK(gathers(Module::permute, OpPass::forward) == Approx(4 * n).epsilon(1e-6));
  CHECK(streams(Module::permute, OpPass::forward) == Approx(2 * n).epsilon(1e-6));
  CHECK(gathers(Module::permute, OpPass::backward_input) == Approx(4 * n).epsilon(1e-3));
  CHECK(streams(Module::permute, OpPass::backward_input) == Approx(6 * n + 8 * t).epsilon(1e-3));
  CHECK(gathers(Module::unpermute, OpPass::forward) == Approx(8 * n).epsilon(1e-6));  // rows in fp32
  CHECK(streams(Module::unpermute, OpPass::forward) == Approx(12 * n + 4 * (n + t) + 6 * t).epsilon(1e-6));
  CHECK(streams(Module::expert_activation, OpPass::forward) == Approx(22 * g).epsilon(1e-6));
  // Rows, both halves, the activated one, their product, and what comes before the routing weights.
  const double kept = 2 * n + 8 * g + 2 * n;
  CHECK(static_cast<double>(ops.feed_forward.activations.count) == Approx(kept).epsilon(1e-6));
}
