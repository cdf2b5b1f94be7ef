// The tensors of a model, and the copies of what is sent.
#include <catch2/catch.hpp>
#include <numeric>

#include "sim/work/copies.hpp"
#include "sim/work/holdings.hpp"
#include "sim/work/tensors.hpp"
#include "tests/support/gradients.hpp"

using namespace moesim;
using namespace moesim::testing;

namespace {

Scenario scenario_with(const std::string& model, std::int64_t tensor) {
  return read_scenario(load_document_text(
      fmt::format(
          R"({{"model": {}, "software": {{"kind": "ideal"}}, "cluster": {{"extends": "configs/clusters/h100-64.json", "devices": 8}},
                     "batch": {{"sequences": 8, "sequence_length": 512}}, "parallelism": {{"tensor": {}}}}})",
          model, tensor),
      MOESIM_SOURCE "/scenarios/case.json"));
}

std::int64_t sum(const std::vector<std::int64_t>& tensors) {
  return std::accumulate(tensors.begin(), tensors.end(), std::int64_t{0});
}

constexpr const char* llama = R"({"name": "llama", "hidden": 4096, "vocabulary": 128256, "layers": 4,
    "attention": {"kind": "grouped_query", "heads": 32, "kv_heads": 8}, "feed_forward": {"width": 14336}})";

}  // namespace

TEST_CASE("The tensors of a block are all that the block holds") {
  const std::string model = GENERATE(std::string(llama), std::string(R"("configs/models/deepseek-v3.json")"),
                                     std::string(R"("configs/models/qwen2-57b-a14b.json")"),
                                     std::string(R"("configs/models/gpt-oss-120b.json")"));
  const std::int64_t tensor = GENERATE(1, 2);
  CAPTURE(model, tensor);
  const Scenario scenario = scenario_with(model, tensor);
  const auto check = [&](Activity block, std::int64_t layer) {
    const BlockTensors tensors = block_tensors(scenario, block, layer);
    const Holdings held = block_holdings(scenario, block, layer);
    CHECK(sum(tensors.replicated) == held.replicated());
    CHECK(sum(tensors.experts) == held.experts());
    for (const bool experts : {false, true})
      for (const std::int64_t elements : tensors.of(experts)) CHECK(elements > 0);
  };
  for (std::size_t layer = 0; layer < scenario.model.layers.size(); ++layer) {
    check(Activity::attention, static_cast<std::int64_t>(layer));
    check(Activity::feed_forward, static_cast<std::int64_t>(layer));
  }
  check(Activity::embedding, -1);
  check(Activity::head, -1);
}

TEST_CASE("A layer of Llama has seven matrices, as its module in PyTorch") {
  const Scenario scenario = scenario_with(llama, 1);
  const std::int64_t kv = 4096 * 1024, square = 4096 * 4096, wide = 4096 * 14336;
  CHECK(block_tensors(scenario, Activity::feed_forward, 0).replicated == std::vector<std::int64_t>(3, wide));
  const std::vector<std::int64_t> attention = block_tensors(scenario, Activity::attention, 0).replicated;
  CHECK(attention == std::vector<std::int64_t>{square, kv, kv, square, 4096, 4096});
}

TEST_CASE("Copies move what they read and write") {
  const PrecisionPlan fp32{.gradient = Precision::fp32}, bf16{.gradient = Precision::bf16};
  const GradientPlan whole{.shards = Precision::fp32}, half{.shards = Precision::bf16};
  CHECK(bucket_in({100}, fp32).bytes == Bytes{800});
  CHECK(bucket_out({100}, bf16).bytes == Bytes{400});
  CHECK(shards_in(100, half).bytes == Bytes{400});
  CHECK(shards_in(100, whole).bytes == Bytes{1000});  // cast, then copied
  CHECK(gathered_out(100).bytes == Bytes{400});
  CHECK(gradients_in(100, fp32).bytes == Bytes{600});
  CHECK(gradients_out({100}, half, bf16, false).empty());
  REQUIRE(gradients_out({100}, whole, bf16, true).size() == 2);
  CHECK(gradients_out({100}, whole, bf16, true)[0].bytes == Bytes{600});
  CHECK(gradients_out({100}, whole, bf16, true)[1].bytes == Bytes{1200});
}
