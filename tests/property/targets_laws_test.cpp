// Laws of encoder-decoders whose targets are shorter than their sources.
#include <fmt/format.h>
#include <catch2/catch.hpp>

#include "models/transformer/layer_ops.hpp"
#include "sim/read/scenario.hpp"
#include "sim/work/share.hpp"

using namespace moesim;

namespace {

Scenario scenario_with(std::int64_t targets) {
  return load_scenario(MOESIM_SOURCE "/scenarios/switch-base-128-tpu-v3.json",
                       {parse_override(fmt::format("batch.target_length={}", targets))});
}

double products(const std::vector<Op>& ops) { return total_flops(ops).count; }
double products(const BlockOps& ops) {
  return products(ops.forward) + products(ops.backward_input) + products(ops.backward_weight);
}

}  // namespace

TEST_CASE("FLOPs of products in layers and head are those of the model, whatever the targets' length") {
  const Scenario scenario = load_scenario(
      MOESIM_SOURCE "/scenarios/switch-base-128-tpu-v3.json",
      {parse_override("routing.capacity_factor=1"), parse_override("routing.minimum_capacity=1"),
       parse_override("batch.target_length=128")});
  const Batch& batch = scenario.batch;
  double sum = products(lower_head(scenario.model, share_of(scenario), true));
  for (std::size_t layer = 0; layer < scenario.model.layers.size(); ++layer) {
    const LayerOps ops = ops_of_layer(scenario, layer);
    sum += products(ops.attention) + products(ops.feed_forward);
  }
  const double sources = static_cast<double>(batch.microbatch * batch.sequence_length);
  CHECK(sum == Approx(training_flops_per_token(scenario.model, batch.sequence_length, true, false,
                                               batch.target_length)
                          .count *
                      sources)
                   .epsilon(1e-12));
}

TEST_CASE("Targets as long as sources are what no target length is") {
  const Scenario scenario = scenario_with(0);
  const Model& model = scenario.model;
  CHECK(training_flops_per_token(model, 512, true, false, 512).count ==
        training_flops_per_token(model, 512).count);
  for (const std::size_t layer : {std::size_t{0}, model.layers.size() - 1})
    CHECK(tokens_per_device(scenario, layer) == tokens_per_device(scenario_with(512), layer));
}

TEST_CASE("Only layers of the decoder have fewer tokens, and their buffers are as much smaller") {
  const Scenario scenario = scenario_with(128);
  const std::size_t encoder = 1, decoder = scenario.model.layers.size() - 1;
  REQUIRE(scenario.model.layers[encoder].is_moe);
  REQUIRE(scenario.model.layers[decoder].is_moe);
  CHECK(tokens_per_device(scenario, encoder) == 4 * tokens_per_device(scenario, decoder));
  CHECK(dispatched_rows(scenario, encoder) == 4 * dispatched_rows(scenario, decoder));
  CHECK(share_of(scenario, decoder).source_length == 512);
  CHECK(share_of(scenario, encoder).source_length == 0);
}

TEST_CASE("A target length needs a decoder beside an encoder, all on one rank") {
  const auto fails = [](const std::vector<std::string>& keys, const std::string& why) {
    std::vector<Override> overrides{parse_override("batch.target_length=128")};
    for (const std::string& key : keys) overrides.push_back(parse_override(key));
    CHECK_THROWS_WITH(load_scenario(MOESIM_SOURCE "/scenarios/switch-base-128-tpu-v3.json", overrides),
                      Catch::Contains(why));
  };
  fails({"model.encoder_layers=0"}, "has no encoder");
  fails({"parallelism.pipeline=2", "parallelism.expert=16"}, "expected neither pipeline 2");
}
