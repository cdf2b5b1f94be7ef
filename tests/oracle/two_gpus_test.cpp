// The smallest scenario, worked out with pencil and paper. Two H100 on one NVSwitch, a model of two MoE
// layers (hidden 1024, 4 experts, top-2), 8 sequences of 1024 tokens: 4 microbatches on each GPU, 2 experts
// on each, both alike.
#include <catch2/catch.hpp>

#include "sim/read/scenario.hpp"
#include "sim/run/simulate.hpp"
#include "sim/work/share.hpp"

using namespace moesim;
using namespace moesim::literals;

namespace {

Scenario scenario_of_two() {
  return load_scenario(MOESIM_SOURCE "/scenarios/two-gpus.json", {parse_override("cluster.device.spread=0")});
}

const Simulation& two_gpus() {
  static const Simulation simulation = simulate(scenario_of_two());
  return simulation;
}

constexpr double nvlink = 450e9 * 0.824;  // bytes a second, one way
constexpr Time latency{3'330'000};        // NVLink end to end

const CommunicationReport& phase(Activity activity) {
  return two_gpus().report.communications[static_cast<std::size_t>(activity)];
}

Time time_of_ops(const std::vector<Op>& ops, const Scenario& scenario) {
  Time sum;
  for (const Op& op : ops) sum += scenario.cost->time(op, scenario.cluster->device, 0).time;
  return sum;
}

}  // namespace

TEST_CASE("Two GPUs exchange 1,024 rows of 2,048 bytes in 8.99 us, eight times a phase") {
  // 1,024 tokens x 2 choices, half of them for the other GPU, 1024 x 2 bytes each.
  const double bytes = 1024.0 * 2048.0;
  const Time once = latency + from_seconds(bytes / nvlink);
  for (const Activity activity :
       {Activity::dispatch, Activity::combine, Activity::dispatch_backward, Activity::combine_backward}) {
    CHECK(phase(activity).busy == once * 8);  // 4 microbatches x 2 layers
    CHECK(phase(activity).exposed == once * 8);
    CHECK(phase(activity).bytes == 2 * 8 * 1024 * 2048);
    CHECK(phase(activity).messages == 2 * 8);
  }
}

TEST_CASE("Two GPUs reduce, update and gather what both hold, and experts stay where they are") {
  // Embedding and head 2 x 8192 x 1024; per layer attention 4 x 1024 x 1024, router 4 x 1024, two norms; a
  // last norm.
  const std::int64_t replicated = 2 * 8192 * 1024 + 2 * (4 * 1024 * 1024 + 4 * 1024 + 2 * 1024) + 1024;
  // A reduce-scatter among two sends half of the fp32 gradients over each link; an all-gather half of the
  // bf16 weights.
  CHECK(phase(Activity::gradient).bytes == replicated * 4);
  CHECK(phase(Activity::gradient).busy ==
        latency + from_seconds(static_cast<double>(replicated) * 4 / 2 / nvlink));
  CHECK(phase(Activity::parameter).bytes == replicated * 2);
  CHECK(phase(Activity::parameter).busy ==
        latency + from_seconds(static_cast<double>(replicated) * 2 / 2 / nvlink));
  // Experts: 2 of 3 x 1024 x 2048 on each GPU and layer.
  const std::int64_t experts = 2 * 2 * 3 * 1024 * 2048;
  const MemoryReport& memory = two_gpus().report.memory.front();
  CHECK(memory.parameters == Bytes{2 * (replicated + experts)});
  CHECK(memory.gradients == Bytes{4 * (replicated + experts)});
  CHECK(memory.optimizer == Bytes{12 * ((replicated + 1) / 2 + experts)});
}

TEST_CASE("The step of two GPUs is four times all ops, then exchanges, gradients, optimizer and parameters") {
  const Scenario scenario = scenario_of_two();
  const auto all = [&](const BlockOps& block) {
    return time_of_ops(block.forward, scenario) + time_of_ops(block.backward_input, scenario) +
           time_of_ops(block.backward_weight, scenario);
  };
  const LayerOps layer = ops_of_layer(scenario, 0);
  const Share share = share_of(scenario);
  const Time once = 2 * (all(layer.attention) + all(layer.feed_forward)) +
                    all(lower_embedding(scenario.model, share)) +
                    all(lower_head(scenario.model, share, true));
  const Report& report = two_gpus().report;
  CHECK(report.breakdown.compute == 4 * once);
  CHECK(report.breakdown.bubble == Time{});
  CHECK(report.step_time == 4 * once + 4 * phase(Activity::dispatch).busy + phase(Activity::gradient).busy +
                                report.breakdown.optimizer + phase(Activity::parameter).busy);
  CHECK(report.tokens == 8192);
  CHECK(report.makespan == 4 * once + 4 * phase(Activity::dispatch).busy);
}
