// Blocks written in PyTorch, eager and compiled, against profiles of such blocks on one H200
// (configs/validation/software-h200.json, "compiled"): times by class of kernel, and what is kept.
#include <fmt/format.h>

#include <array>
#include <catch2/catch.hpp>

#include "models/base/at.hpp"
#include "models/base/file.hpp"
#include "models/config/document.hpp"
#include "models/cost/roofline.hpp"
#include "models/software/software.hpp"
#include "models/transformer/layer_ops.hpp"
#include "tests/support/devices.hpp"

using namespace moesim;

namespace {

std::unique_ptr<const Software> software(const std::string& json) {
  const Value document = parse_json(json, "test");
  Reader reader(document, "software");
  return make_member(reader, softwares(), "software");
}

/// A block that was measured.
struct Shape {
  std::string name;
  std::int64_t hidden, heads, kv_heads, width, experts, top_k;
  std::int64_t rows() const { return experts > 0 ? top_k * tokens : 0; }
  double parameters() const {
    const std::int64_t attention = hidden * 128 * 2 * (heads + kv_heads);
    const std::int64_t pair = 3 * hidden * width;
    return static_cast<double>(attention + 2 * hidden + (experts > 0 ? experts * (pair + hidden) : pair));
  }
  static constexpr std::int64_t tokens = 4096;
};
const std::array<Shape, 3> shapes{{{"dense 4096", 4096, 32, 8, 14336, 0, 0},
                                   {"dense 2048", 2048, 16, 8, 6144, 0, 0},
                                   {"64 experts", 2048, 16, 4, 1024, 64, 6}}};

Model model_of(const Shape& shape) {
  const std::string feed_forward = shape.experts > 0
                                       ? fmt::format(R"("moe": {{"experts": {}, "top_k": {}, "width": {}}})",
                                                     shape.experts, shape.top_k, shape.width)
                                       : fmt::format(R"("feed_forward": {{"width": {}}})", shape.width);
  const Value document =
      parse_json(fmt::format(R"({{"name": "block", "hidden": {}, "vocabulary": 1000, "layers": 1,
          "attention": {{"kind": "grouped_query", "heads": {}, "kv_heads": {}, "head_dim": 128}}, {}}})",
                             shape.hidden, shape.heads, shape.kv_heads, feed_forward),
                 "test");
  Reader reader(document, "model");
  return read_model(reader);
}

LayerOps ops_of(const Shape& shape, const Software& software, const Recompute& recompute = {}) {
  const std::vector<std::int64_t> rows(static_cast<std::size_t>(shape.experts),
                                       shape.experts > 0 ? shape.rows() / shape.experts : 0);
  const Share share{.sequence_length = Shape::tokens,
                    .expert_rows = rows,
                    .dispatched_rows = shape.rows(),
                    .keeping = &software};
  return lower_layer(model_of(shape), 0, share, recompute);
}

/// Calls `visit` for every kernel of a layer in all passes.
void for_kernels(const LayerOps& ops, const Software& software, const auto& visit) {
  for (const BlockOps* block : {&ops.attention, &ops.feed_forward}) {
    for (const auto* pass : {&block->forward, &block->backward_input, &block->backward_weight}) {
      for (const Op& op : *pass) {
        std::vector<Op> kernels;
        software.add_kernels(op, kernels);
        for (const Op& kernel : kernels) visit(kernel);
      }
    }
  }
}

using Microseconds = std::array<double, kernel_class_count>;

Microseconds simulated(const Shape& shape, const Software& software) {
  const Device h200 = testing::device("h200.json");
  Microseconds times{};
  for_kernels(ops_of(shape, software), software, [&](const Op& kernel) {
    const Time time = make_roofline()->time(kernel, h200, 0).time - h200.launch_overhead * kernel.kernels;
    at(times, kernel.kernel_class) += to_seconds(time) * 1e6;
  });
  return times;
}

const Value& measured(const Shape& shape, const std::string& way) {
  static const Value file = load_document("configs/validation/software-h200.json");
  const Value* found = file.find("compiled")->find(fmt::format("{}, 1 x 4096, {}", shape.name, way));
  REQUIRE(found != nullptr);
  return *found;
}

/// Without the sums of gradients in all parameters and the input, which the loop around the block added up;
/// two small kernels of attention's backward count to it.
Microseconds measured_times(const Shape& shape, const std::string& way) {
  Microseconds times{};
  for (const Value& kernel : measured(shape, way).find("kernels")->find("both")->items) {
    const std::string& name = kernel.items[0].text;
    const bool is_attention = name == "compute_dot_do_o_specialized" || name == "convert_dq_to_16bits";
    const std::string& of = is_attention ? "attention" : kernel.items[1].text;
    const auto found = std::find(kernel_class_names.begin(), kernel_class_names.end(), of);
    REQUIRE(found != kernel_class_names.end());
    times[static_cast<std::size_t>(found - kernel_class_names.begin())] += kernel.items[3].number;
  }
  const double added = shape.parameters() + static_cast<double>(Shape::tokens * shape.hidden);
  at(times, KernelClass::streaming) -= 6 * added / 4.45e6;
  return times;
}

const std::string eager = R"({"kind": "pytorch"})", compiled = R"({"kind": "torchtitan"})";

}  // namespace

TEST_CASE("Blocks in PyTorch take the time of profiled ones, class by class") {
  for (const auto& [json, way] : {std::pair{eager, "eager"}, std::pair{compiled, "compiled"}}) {
    const std::unique_ptr<const Software> blocks = software(json);
    for (const Shape& shape : shapes) {
      const Microseconds own = simulated(shape, *blocks), there = measured_times(shape, way);
      for (const KernelClass of :
           {KernelClass::streaming, KernelClass::gather_scatter, KernelClass::attention}) {
        INFO(way << ", " << shape.name << ", " << at(kernel_class_names, of));
        CHECK(at(own, of) == Approx(at(there, of)).epsilon(0.12));
      }
    }
  }
}

TEST_CASE("Blocks in PyTorch keep what the allocator has, to 1 in 100,000") {
  for (const auto& [json, way] : {std::pair{eager, "eager"}, std::pair{compiled, "compiled"}}) {
    const std::unique_ptr<const Software> blocks = software(json);
    for (const Shape& shape : shapes) {
      INFO(way << ", " << shape.name);
      const LayerOps ops = ops_of(shape, *blocks);
      CHECK(static_cast<double>((ops.attention.activations + ops.feed_forward.activations).count) ==
            Approx(measured(shape, way).find("kept_bytes")->number).epsilon(1e-5));
    }
  }
}

TEST_CASE("A checkpointed block keeps its input") {
  const std::unique_ptr<const Software> blocks = software(compiled);
  const LayerOps ops = ops_of(shapes[0], *blocks, {.full = true});
  CHECK(static_cast<double>((ops.attention.activations + ops.feed_forward.activations).count) ==
        measured(shapes[0], "compiled, checkpointed").find("kept_bytes")->number);
}

TEST_CASE("Compiled blocks launch fewer kernels, which move fewer bytes, and keep less") {
  const std::unique_ptr<const Software> ways[] = {software(eager), software(compiled)};
  for (const Shape& shape : shapes) {
    std::array<double, 2> launches{}, bytes{};
    for (std::size_t i = 0; i < 2; ++i) {
      for_kernels(ops_of(shape, *ways[i]), *ways[i], [&](const Op& kernel) {
        launches[i] += static_cast<double>(kernel.kernels);
        bytes[i] += static_cast<double>(kernel.bytes.count);
      });
    }
    INFO(shape.name);
    CHECK(launches[1] < launches[0]);
    CHECK(bytes[1] < bytes[0]);
  }
}

TEST_CASE("torchtitan without compilation is a model of one's own but for the chunks of its loss") {
  const std::unique_ptr<const Software> plain = software(eager);
  const std::unique_ptr<const Software> titan = software(R"({"kind": "torchtitan", "compile": false})");
  for (const Shape& shape : shapes) {
    const Microseconds a = simulated(shape, *plain), b = simulated(shape, *titan);
    CHECK(a == b);
  }
  Op loss = make_streaming(OpKind::elementwise, "loss", OpPass::forward, 4096, 1000, 8, Module::loss);
  CHECK(titan->kept_by(loss) == plain->kept_by(loss) / 8);
  CHECK(titan->working_bytes(loss) == plain->working_bytes(loss) / 8);
}

TEST_CASE("The head of torchtitan goes in chunks, whose gradients are added up") {
  const std::unique_ptr<const Software> chunked = software(compiled);
  const std::unique_ptr<const Software> whole = software(R"({"kind": "torchtitan", "loss_chunks": 1})");
  const BlockOps head = lower_head(model_of(shapes[0]), {.sequence_length = 4095}, true);
  for (const auto* pass : {&head.forward, &head.backward_input, &head.backward_weight}) {
    std::array<std::int64_t, 2> products{};
    std::array<double, 2> flops{}, of_loss{}, bytes{};
    for (const Op& op : *pass) {
      for (std::size_t i = 0; i < 2; ++i) {
        std::vector<Op> kernels;
        (i == 0 ? chunked : whole)->add_kernels(op, kernels);
        for (const Op& kernel : kernels) {
          products[i] += kernel.kind == OpKind::gemm ? 1 : 0;
          flops[i] += kernel.flops.count;
          bytes[i] += static_cast<double>(kernel.bytes.count);
          if (kernel.m > 1 && kernel.kernel_class == KernelClass::loss)
            of_loss[i] += static_cast<double>(kernel.m * kernel.n);
        }
      }
    }
    CHECK(products[0] == 8 * products[1]);
    CHECK(flops[0] == Approx(flops[1]).epsilon(1e-12));
    CHECK(of_loss[0] == of_loss[1]);
    CHECK(bytes[0] > bytes[1]);
  }
}

TEST_CASE("Keys and values that heads share are copied for each of them, or not") {
  const std::unique_ptr<const Software> copied = software(eager);
  const std::unique_ptr<const Software> shared = software(R"({"kind": "pytorch", "repeat_keys": false})");
  const Shape& shape = shapes[0];
  const auto kept = [&](const Software& one) {
    const LayerOps ops = ops_of(shape, one);
    return (ops.attention.activations + ops.feed_forward.activations).count;
  };
  CHECK(kept(*copied) - kept(*shared) == 2 * 2 * Shape::tokens * (shape.heads - shape.kv_heads) * 128);
  const Microseconds with = simulated(shape, *copied), without = simulated(shape, *shared);
  CHECK(at(with, KernelClass::streaming) > at(without, KernelClass::streaming));
}
