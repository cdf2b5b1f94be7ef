// Operands in fp8 and fp4: bytes of elements and scales, casts and what is kept, in closed form.
#include <algorithm>
#include <catch2/catch.hpp>

#include "models/base/error.hpp"
#include "models/config/document.hpp"
#include "models/software/narrow_weights.hpp"
#include "models/software/software.hpp"
#include "models/transformer/block.hpp"
#include "models/transformer/layer_ops.hpp"

using namespace moesim;

namespace {

constexpr std::int64_t tokens = 4096, hidden = 2048, width = 8192;

/// A dense layer whose attention has as many columns as the model is wide.
BlockOps feed_forward(Precision gemm, double fp8_scale, const Software* software = nullptr) {
  const Value document = parse_json(R"({"name": "dense", "hidden": 2048, "vocabulary": 8192, "layers": 1,
      "attention": {"kind": "multi_head", "heads": 16, "head_dim": 128},
      "feed_forward": {"kind": "swiglu", "width": 8192}})",
                                    "test");
  Reader reader(document, "model");
  Share share{.sequence_length = tokens, .gemm = gemm, .fp8_scale = fp8_scale};
  if (software != nullptr) {
    share.fusion = software->habits().fusion;
    share.keeping = software;
  }
  return lower_feed_forward(read_model(reader), 0, share, {});
}

std::unique_ptr<const Software> megatron(const std::string& recipe) {
  const Value document = parse_json(R"({"kind": "megatron_core", "fp8_recipe": ")" + recipe + "\"}", "test");
  Reader reader(document, "software");
  return make_member(reader, softwares(), "software");
}

std::vector<std::int64_t> cast_bytes(const std::vector<Op>& ops) {
  std::vector<std::int64_t> bytes;
  for (const Op& op : ops)
    if (op.module == Module::cast) bytes.push_back(op.bytes.count);
  return bytes;
}

/// What Megatron-Core's kernels move for casts of a pass, and how many they are.
struct Moved {
  std::int64_t bytes = 0, launches = 0;
  friend bool operator==(const Moved&, const Moved&) = default;
};
std::ostream& operator<<(std::ostream& out, const Moved& moved) {
  return out << moved.bytes << " bytes in " << moved.launches;
}

Moved moved(const std::string& recipe, Precision gemm, std::vector<Op> BlockOps::*pass) {
  const auto software = megatron(recipe);
  const BlockOps ops = feed_forward(gemm, scale_bytes(software->habits().recipe), software.get());
  std::vector<Op> kernels;
  for (const Op& op : ops.*pass)
    if (op.module == Module::cast) software->add_kernels(op, kernels);
  Moved all;
  for (const Op& kernel : kernels) {
    if (kernel.m * kernel.n > 1) all.bytes += kernel.bytes.count;
    all.launches += kernel.kernels;
  }
  return all;
}

}  // namespace

TEST_CASE("A scale is of a tensor, of 128 numbers in four bytes, or of 32 or 16 in one") {
  CHECK(scale_bytes(Fp8Recipe::delayed) == 0);
  CHECK(scale_bytes(Fp8Recipe::tensorwise) == 0);
  CHECK(scale_bytes(Fp8Recipe::blockwise) == 4.0 / 128);
  CHECK(scale_bytes(Fp8Recipe::mxfp8) == 1.0 / 32);
  CHECK(weight_scale_bytes(Fp8Recipe::blockwise) == 4.0 / (128 * 128));
  CHECK(weight_scale_bytes(Fp8Recipe::mxfp8) == 1.0 / 32);
  CHECK(nvfp4_bytes == 0.5 + 1.0 / 16);
}

TEST_CASE("A cast reads bf16 and writes elements with their scales, along one axis, to the byte") {
  for (const auto& [gemm, scale] : {std::pair{Precision::fp8, 0.0}, std::pair{Precision::fp8, 1.0 / 32},
                                    std::pair{Precision::fp4, 0.0}}) {
    const double each = gemm == Precision::fp4 ? 0.5 + 1.0 / 16 : 1 + scale;
    const BlockOps ops = feed_forward(gemm, scale);
    const auto bytes = [](std::int64_t columns, double of_each) {
      return static_cast<std::int64_t>(static_cast<double>(tokens * columns) * of_each);
    };
    CHECK(cast_bytes(ops.forward) == std::vector{bytes(hidden, 2 + each), bytes(width, 2 + each)});
    CHECK(cast_bytes(ops.backward_input) == std::vector{bytes(hidden, 2 + each), bytes(2 * width, 2 + each)});
    // Inputs as they were kept along rows, gradients once more; the last product first.
    CHECK(cast_bytes(ops.backward_weight) == std::vector{bytes(width, 2 * each), bytes(hidden, 2 + each),
                                                         bytes(hidden, 2 * each),
                                                         bytes(2 * width, 2 + each)});
    // Kept: both halves of the activation in bf16, its result as the product reads it.
    CHECK(ops.activations.count == bytes(width, 4 + each));
  }
}

TEST_CASE("A product in fp4 reads half a byte of each operand and writes bf16") {
  const Op product = make_gemm("product", OpPass::forward, 256, 512, 1024, Precision::fp4);
  CHECK(product.bytes.count == (256 * 1024 + 1024 * 512) / 2 + 256 * 512 * 2);
  const Op weights = make_gemm("product", OpPass::backward_weight, 512, 1024, 256, Precision::fp4);
  CHECK(weights.bytes.count == (512 * 256 + 256 * 1024) / 2 + 512 * 1024 * 8);
  const Op experts = make_grouped_gemm("experts", OpPass::forward, {128, 0, 64}, 512, 1024, Precision::fp4);
  CHECK(experts.bytes.count == (192 * 1024 + 2 * 512 * 1024) / 2 + 192 * 512 * 2);
  CHECK_THROWS_AS(size_of(Precision::fp4), std::logic_error);
}

TEST_CASE("Transformer Engine casts both ways at once, by the kernels of each recipe") {
  const auto bytes = [](double each, std::int64_t columns) {
    return static_cast<std::int64_t>(static_cast<double>(tokens * columns) * each);
  };
  const std::int64_t columns = hidden + width;  // of the inputs of both products
  // Scales are counted along rows alone.
  CHECK(moved("delayed", Precision::fp8, &BlockOps::forward) == Moved{bytes(2 + 2, columns), 2});
  CHECK(moved("tensorwise", Precision::fp8, &BlockOps::forward) == Moved{bytes(2 + 2 + 2, columns), 8});
  for (const char* recipe : {"blockwise", "mxfp8"})
    CHECK(moved(recipe, Precision::fp8, &BlockOps::forward) == Moved{bytes(2 + 2 + 1.0 / 32, columns), 2});
  // NVFP4 finds the largest numbers first, behind a kernel that sets them to zero, and for gradients one
  // more.
  const double both = 2 * (0.5 + 1.0 / 16);
  CHECK(moved("mxfp8", Precision::fp4, &BlockOps::forward) == Moved{bytes(2 + 2 + both, columns), 2 * 3});
  CHECK(moved("mxfp8", Precision::fp4, &BlockOps::backward_input) ==
        Moved{bytes(2 + 2 + both, hidden + 2 * width), 2 * 4});
  CHECK(moved("mxfp8", Precision::fp4, &BlockOps::backward_weight) == Moved{});
}

TEST_CASE("Weights in fp8 are held twice where products need it, and gathered in a byte but for MXFP8") {
  const auto hopper = Generation::hopper, blackwell = Generation::blackwell;
  for (const Fp8Recipe recipe : {Fp8Recipe::delayed, Fp8Recipe::tensorwise}) {
    CHECK(narrow_weights(recipe, hopper).held == 2);
    CHECK(narrow_weights(recipe, blackwell).held == 1);
    CHECK(narrow_weights(recipe, hopper).sent == 1);
    CHECK(narrow_weights(recipe, hopper).by_all == 2);
    CHECK(narrow_weights(recipe, blackwell).by_all == 0);
  }
  CHECK(narrow_weights(Fp8Recipe::delayed, hopper).by_owner == 5);
  CHECK(narrow_weights(Fp8Recipe::tensorwise, hopper).by_owner == 9);
  CHECK(narrow_weights(Fp8Recipe::blockwise, hopper).held == 2 * (1 + 4.0 / 16384));
  CHECK(narrow_weights(Fp8Recipe::blockwise, hopper).sent == 1);
  const NarrowWeights mxfp8 = narrow_weights(Fp8Recipe::mxfp8, blackwell);
  CHECK(mxfp8.held == 2 * (1 + 1.0 / 32));
  CHECK(mxfp8.sent == 2);
  CHECK(mxfp8.by_owner == 0);
  CHECK(mxfp8.by_all == 2 + mxfp8.held + 2);
  CHECK(narrow_copies(Precision::fp4, Fp8Recipe::delayed, blackwell).held == 2 * (0.5 + 1.0 / 16));
  CHECK(narrow_copies(Precision::fp8, Fp8Recipe::mxfp8, blackwell).by_all == 2 + mxfp8.held);
}
