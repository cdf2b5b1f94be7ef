// Laws of ops of any size: what is answered is above zero and finite, and what 64 bits do not hold is
// refused.
#include <fmt/format.h>

#include <catch2/catch.hpp>
#include <cmath>

#include "models/base/error.hpp"
#include "models/base/random.hpp"
#include "models/cost/calibrated.hpp"
#include "models/cost/op_line.hpp"
#include "models/cost/roofline.hpp"
#include "models/software/software.hpp"
#include "models/transformer/layer_ops.hpp"
#include "tests/support/devices.hpp"

using namespace moesim;

namespace {

/// A question to `moesim cost` with sizes of any order up to the bounds of its keys.
class Questions {
 public:
  std::string next(const std::string& op) {
    std::string text =
        fmt::format(R"({{"op": "{}", "pass": "{}")", op, random_.below(2) == 0 ? "forward" : "backward");
    for (const std::string& key : keys_of(op)) text += fmt::format(R"(, "{}": {})", key, size(key));
    if (op == "grouped_gemm") text += fmt::format(R"(, "rows": [{}, {}, 0])", size("row"), size("row"));
    if (op == "router") text += R"(, "top_k": 1)";
    return text + "}";
  }

 private:
  static std::vector<std::string> keys_of(const std::string& op) {
    if (op == "gemm") return {"m", "n", "k"};
    if (op == "grouped_gemm") return {"n", "k"};
    if (op == "attention") return {"batch", "heads", "kv_heads", "sequence", "head_dim", "value_head_dim"};
    if (op == "router") return {"tokens", "experts"};
    if (op == "copy") return {"bytes"};
    return {"rows", op == "swiglu" ? "width" : "hidden"};
  }

  std::int64_t size(const std::string& key) {
    const double bits = key == "sequence" || key == "row" ? 30 : 40;
    return static_cast<std::int64_t>(std::exp2(bits * random_.uniform()));
  }

  RandomStream random_ = Random(8).stream("sizes");
};

/// A model of any sizes that its file may have.
std::string any_model(RandomStream& random) {
  const auto size = [&] { return static_cast<std::int64_t>(std::pow(1e6, random.uniform())); };
  const bool latent = random.below(2) == 0;
  std::string attention = fmt::format(R"("heads": {}, "value_head_dim": {})", size(), size());
  attention +=
      latent ? fmt::format(R"(, "kind": "latent", "q_lora_rank": {}, "kv_lora_rank": {}, "nope_head_dim": {},
                                    "rope_head_dim": {})",
                           size(), size(), size(), size())
             : fmt::format(R"(, "kind": "multi_head", "head_dim": {})", size());
  return fmt::format(
      R"({{"name": "any", "hidden": {}, "vocabulary": {}, "layers": {}, "attention": {{{}}},
          "moe": {{"experts": {}, "top_k": 1, "width": {}, "shared_experts": {}}}}})",
      size(), 100 * size(), std::max<std::int64_t>(1, size() / 1000), attention, size(), size(), size());
}

void check_block(const BlockOps& block) {
  CHECK(block.activations >= Bytes{});
  for (const auto* ops : {&block.forward, &block.backward_input, &block.backward_weight}) {
    for (const Op& op : *ops) {
      CHECK(op.bytes > Bytes{});
      CHECK(op.flops.count >= 0);
      CHECK(std::isfinite(op.flops.count));
    }
    const Bytes sum = total_bytes(*ops);
    CHECK(sum >= Bytes{});
  }
}

struct Asked {
  int answered = 0, refused = 0;
};

void ask(const std::string& question, const Cost& cost, const Device& device, Asked& asked) {
  INFO(question);
  try {
    const Value document = parse_json(question, "question");
    Reader reader(document, "");
    for (const Op& op : read_ops(reader)) {
      const bool multiplies =
          op.kind == OpKind::gemm || op.kind == OpKind::grouped_gemm || op.kind == OpKind::attention;
      CHECK(op.bytes.count > 0);
      CHECK(std::isfinite(op.flops.count));
      CHECK((op.flops.count > 0) == multiplies);
      const Time time = cost.time(op, device, 0).time;  // outside of CHECK, which would catch what it throws
      CHECK(time > Time{});
    }
    ++asked.answered;
  } catch (const InputError&) {
    ++asked.refused;
  } catch (const RunError&) {
    ++asked.refused;
  }
}

void ask_all(const Cost& cost, const Device& device, int questions) {
  Questions any;
  int refused = 0;
  for (const std::string op : {"gemm", "grouped_gemm", "attention", "rms_norm", "swiglu", "router", "permute",
                               "unpermute", "copy", "fp8_cast", "residual", "rotary", "elementwise"}) {
    Asked asked;
    for (int i = 0; i < questions; ++i) ask(any.next(op), cost, device, asked);
    INFO(op);
    CHECK(asked.answered > 0);
    refused += asked.refused;
  }
  CHECK(refused > questions);
}

}  // namespace

TEST_CASE("An op of any size takes a time above zero and moves bytes above zero, or is refused") {
  const Device device = testing::device("h200.json");
  ask_all(*make_roofline(), device, 60);
}

/// The kernels of a software, one after the other.
class ByKernels final : public Cost {
 public:
  explicit ByKernels(std::unique_ptr<const Software> software) : software_(std::move(software)) {}

  OpTime time(const Op& op, const Device& device, const DeviceState& state) const override {
    std::vector<Op> kernels;
    software_->add_kernels(op, kernels);
    OpTime sum;
    for (const Op& kernel : kernels) sum.time += roofline_->time(kernel, device, state).time;
    return sum;
  }

 private:
  std::unique_ptr<const Software> software_;
  std::unique_ptr<const Cost> roofline_ = make_roofline();
};

TEST_CASE("So it does with separate kernels") {
  const Device device = testing::device("h200.json");
  const Value keys = parse_json(R"({"kind": "file", "attention": "separate", "grouped_gemm": "kernel_each",
                                    "norm_backward": "separate", "permutation": "separate"})",
                                "keys");
  Reader reader(keys, "");
  ask_all(ByKernels(make_member(reader, softwares(), "software")), device, 40);
}

TEST_CASE("So it does with a calibration") {
  const Value document = load_document(MOESIM_SOURCE "/configs/calibration/h200.json");
  Reader reader(document, "");
  const Calibration calibration = read_calibration(reader);
  ask_all(*make_calibrated(calibration), calibration.device, 25);
}

TEST_CASE("A model of any size has parameters, work and bytes above zero, or is refused") {
  RandomStream random = Random(8).stream("models");
  int answered = 0, refused = 0;
  for (int i = 0; i < 300; ++i) {
    const std::string text = any_model(random);
    INFO(text);
    const std::vector<std::int64_t> rows{static_cast<std::int64_t>(std::pow(1e15, random.uniform())), 0};
    Share share;
    share.sequence_length = static_cast<std::int64_t>(std::pow(1e9, random.uniform()));
    share.dropout = random.below(2) == 0;
    share.expert_rows = rows;
    share.dispatched_rows = rows[0];
    try {
      const Value document = parse_json(text, "model");
      Reader reader(document, "");
      const Model model = read_model(reader);
      CHECK(model_parameters(model).total() > 0);
      CHECK(active_parameters(model) > 0);
      const Flops flops = training_flops_per_token(model, share.sequence_length, true, false);
      CHECK(flops.count > 0);
      const LayerOps layer = lower_layer(model, 0, share, {});
      check_block(layer.attention);
      check_block(layer.feed_forward);
      check_block(lower_embedding(model, share));
      check_block(lower_head(model, share, false));
      ++answered;
    } catch (const InputError&) {
      ++refused;
    } catch (const RunError&) {
      ++refused;
    }
  }
  CHECK(answered > 50);
  CHECK(refused > 20);
}

TEST_CASE("Sizes whose products 64 bits do not hold are refused with their op") {
  const auto refusal = [](const std::string& question) -> std::string {
    const Value document = parse_json(question, "question");
    Reader reader(document, "");
    try {
      read_ops(reader);
    } catch (const InputError& error) {
      return error.what();
    }
    return "no error";
  };
  CHECK(refusal(R"({"op": "gemm", "m": 4000000000, "n": 4000000000, "k": 1})") ==
        "question: a size of 3.2e+19 bytes is beyond what can be simulated (9.2 EB)");
  CHECK(refusal(R"({"op": "rms_norm", "rows": 4000000000, "hidden": 1000000000})") ==
        "question: a size of 1.6e+19 bytes is beyond what can be simulated (9.2 EB)");
  CHECK(refusal(
            R"({"op": "attention", "batch": 2239, "heads": 64267, "sequence": 35, "head_dim": 240287619})") ==
        "question: a size of 9.681e+18 bytes is beyond what can be simulated (9.2 EB)");
}
