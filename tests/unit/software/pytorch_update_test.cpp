// Updates under PyTorch's laws against profiles of torch.optim over 378 million parameters in 38 tensors on
// one H200 (configs/validation/software-h200.json, "optimizers").
#include <catch2/catch.hpp>

#include "sim/read/scenario.hpp"
#include "sim/work/update.hpp"

using namespace moesim;

namespace {

/// The same tensors, one embedding for both ends among them.
constexpr std::string_view model = R"(model={"name": "list", "hidden": 2048, "vocabulary": 65536, "layers": 4,
    "attention": {"kind": "grouped_query", "heads": 16, "kv_heads": 4}, "feed_forward": {"width": 8192},
    "tied_embedding": true})";

Scenario scenario(const std::string& optimizer, const std::string& gradient) {
  return load_scenario(MOESIM_SOURCE "/scenarios/validation/hugging-face-h200.json",
                       {parse_override(std::string(model)), parse_override("optimizer=" + optimizer),
                        parse_override("precision.gradient=" + gradient)});
}

/// Of all that is held, or with Muon of all matrices, the embedding too.
Updated all_of(const Scenario& one, std::vector<Weight>& weights) {
  const HeldElements held = held_elements(one, 0);
  REQUIRE(held.total() == 377'505'792);
  Updated part = updated_part(held, {}, weights);
  if (one.update.iterations == 0) return part;
  weights = weights_of_rank(one, 0);
  weights.push_back({.rows = 65'536, .columns = 2048});
  return {.all = part.all, .rest = 0, .matrices = 29, .others = 0, .weights = weights};
}

ClassShare kernels(const Scenario& one) {
  std::vector<Weight> weights;
  const Updated part = all_of(one, weights);
  return at(sum_of(update_ops(one, part), one).classes(), KernelClass::update);
}

struct Measured {
  std::string optimizer, gradient;
  double microseconds;
  double launches;
};

}  // namespace

TEST_CASE("An update takes what torch.optim takes") {
  const std::string states = R"("master": false, "moments": "bf16")";
  const std::string lists = states + R"(, "implementation": "foreach"})";
  const std::string loop = states + R"(, "implementation": "for_loop"})";
  const Measured all[] = {
      {R"({"kind": "adamw", )" + states + "}", "bf16", 1953.4, 20},
      {R"({"kind": "adamw", )" + lists, "bf16", 4832.9, 152},
      {R"({"kind": "adamw", )" + loop, "bf16", 3802.5, 304},
      {R"({"kind": "sgd", )" + lists, "bf16", 1834.8, 57},
      {R"({"kind": "adamw"})", "bf16", 4874.9, 77},
      {R"({"kind": "adafactor", )" + lists, "bf16", 6559.0, 489},
      {R"({"kind": "adafactor", )" + loop, "bf16", 5485.0, 758},
      {R"({"kind": "muon", )" + loop, "bf16", 33578.0, 1022},
  };
  for (const Measured& one : all) {
    INFO(one.optimizer);
    const ClassShare found = kernels(scenario(one.optimizer, one.gradient));
    CHECK(found.time * 1e6 == Approx(one.microseconds).epsilon(0.1));
    CHECK(found.launches == Approx(one.launches).epsilon(0.2));
  }
}

TEST_CASE("Gradients are measured and scaled as clip_grad_norm_ does") {
  const auto update = [](const std::string& gradient, const std::string& keys) {
    return kernels(scenario(R"({"kind": "adamw")" + keys + "}", gradient)).time * 1e6;
  };
  for (const auto& [gradient, over_lists] : {std::pair{"bf16", 848.5}, std::pair{"fp32", 1294.0}}) {
    const double clip = update(gradient, R"(, "clip": true)") - update(gradient, "");
    CHECK(clip == Approx(over_lists).epsilon(0.1));
  }
  const std::string loop = R"(, "implementation": "for_loop")";
  CHECK(update("bf16", loop + R"(, "clip": true)") - update("bf16", loop) == Approx(1413.0).epsilon(0.1));
}

TEST_CASE("Kernels over lists take chunks of 65,536 elements, 320 at a time") {
  Op op = make_streaming(OpKind::elementwise, "test", OpPass::backward_weight, 320 * 65'536 + 1, 1, 4,
                         Module::update);
  op.walk = Walk::lists;
  op.update_step = UpdateStep::map;
  std::vector<Op> kernels;
  scenario(R"({"kind": "adamw"})", "bf16").software->add_kernels(op, kernels);
  REQUIRE(kernels.size() == 1);
  CHECK(kernels.front().kernels == 2);
  CHECK(kernels.front().bytes == op.bytes);
}
