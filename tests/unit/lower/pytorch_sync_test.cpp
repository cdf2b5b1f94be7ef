// Data parallelism as PyTorch does it: what ddp and fsdp2 send and copy, and when.
#include <catch2/catch.hpp>

#include "sim/lower/lower.hpp"
#include "sim/report/report.hpp"
#include "sim/run/simulate.hpp"
#include "sim/work/copies.hpp"
#include "sim/work/holdings.hpp"
#include "sim/work/tensors.hpp"
#include "tests/support/gradients.hpp"

using namespace moesim;
using namespace moesim::testing;

namespace {

std::int64_t bytes_of(const Report& report, Activity activity) {
  return report.communications[static_cast<std::size_t>(activity)].bytes;
}

/// Tasks of that kind, in the order of their numbers.
std::vector<TaskId> tasks_of(const TaskGraph& graph, Activity activity) {
  std::vector<TaskId> tasks;
  for (TaskId task = 0; task < graph.size(); ++task)
    if (graph.tags[task].activity == activity) tasks.push_back(task);
  return tasks;
}

Time time_of_copies(const Simulation& run) {
  Time sum;
  for (const TaskId task : tasks_of(run.graph, Activity::copy)) sum += run.graph.durations[task];
  return sum;
}

/// Bytes that ranks of groups of that many send to gather or scatter all that a scenario's ranks hold.
std::int64_t once(const Scenario& scenario, Precision precision, std::int64_t data, std::int64_t experts) {
  const Sizes& sizes = scenario.layout.sizes();
  std::int64_t bytes = 0;
  for (std::int64_t rank = 0; rank < sizes.pipeline; ++rank) {
    const Holdings held = holdings(scenario, rank);
    bytes += held.replicated() * (data - 1) * (sizes.data / data);
    bytes += held.experts() * (experts - 1) * (sizes.data / experts);
  }
  return (size_of(precision) * bytes).count;
}

}  // namespace

TEST_CASE("DDP sends what an all-reduce sends, and copies each gradient in and back once a step") {
  const int pipeline = GENERATE(1, 2);
  const auto run = [&](const std::string& sync) {
    return simulate(scenario_of({.sync = sync, .pipeline = pipeline}));
  };
  const Simulation reduced = run(R"({"kind": "all_reduce", "overlap": true, "bucket": "100 MB"})");
  const Simulation ddp = run(R"({"kind": "ddp"})");
  const Simulation views = run(R"({"kind": "ddp", "views": true})");
  CHECK(bytes_of(ddp.report, Activity::gradient) == bytes_of(reduced.report, Activity::gradient));
  CHECK(bytes_of(views.report, Activity::gradient) == bytes_of(reduced.report, Activity::gradient));
  CHECK(time_of_copies(reduced).count == 0);
  CHECK(to_seconds(time_of_copies(ddp)) == Approx(2 * to_seconds(time_of_copies(views))).epsilon(0.02));
  CHECK(ddp.report.step_time > views.report.step_time);
}

TEST_CASE("A bucket of DDP ends with the tensor that fills it, and the first is small") {
  const Scenario scenario = scenario_of({.sync = R"({"kind": "ddp", "bucket": "200 MiB"})", .expert = 1});
  std::int64_t buckets = 0, open = 0, open_experts = 0;
  const auto add = [&](Activity block, std::int64_t layer) {
    const BlockTensors tensors = block_tensors(scenario, block, layer);
    for (const bool experts : {false, true}) {
      std::int64_t& sum = experts ? open_experts : open;
      for (const std::int64_t elements : tensors.of(experts)) {
        sum += 4 * elements;
        if (sum < (buckets == 0 ? 1 << 20 : 200 << 20)) continue;
        ++buckets;
        sum = 0;
      }
    }
  };
  add(Activity::head, -1);
  for (std::int64_t layer = 7; layer >= 0; --layer) {
    add(Activity::feed_forward, layer);
    add(Activity::attention, layer);
  }
  add(Activity::embedding, -1);
  buckets += (open > 0 ? 1 : 0) + (open_experts > 0 ? 1 : 0);
  CHECK(std::ssize(tasks_of(simulate(scenario).graph, Activity::gradient)) == buckets);
}

TEST_CASE("FSDP2 gathers once or twice a microbatch and reduces each, or once a step, to the byte") {
  const int pipeline = GENERATE(1, 4);
  const std::string schedule = GENERATE("1f1b", "zb_h1");
  const auto run = [&](const std::string& keys) {
    return simulate(scenario_of({.sync = R"({"kind": "fsdp2")" + keys + "}",
                                 .pipeline = pipeline,
                                 .schedule = R"({"kind": ")" + schedule + R"("})"}))
        .report;
  };
  const Scenario scenario = scenario_of({.pipeline = pipeline});
  const Sizes& sizes = scenario.layout.sizes();
  const std::int64_t microbatches = scenario.microbatches();
  const std::int64_t gradients = once(scenario, Precision::fp32, sizes.data, sizes.expert_data());
  const std::int64_t parameters = once(scenario, Precision::bf16, sizes.data, sizes.expert_data());
  for (const std::string ahead : {"0", "1", "3"}) {
    CAPTURE(pipeline, schedule, ahead);
    const Report reshards = run(R"(, "ahead": )" + ahead);
    CHECK(bytes_of(reshards, Activity::gradient) == microbatches * gradients);
    CHECK(bytes_of(reshards, Activity::parameter) == 2 * microbatches * parameters);
    const Report keeps = run(R"(, "reshard_after_forward": false, "ahead": )" + ahead);
    CHECK(bytes_of(keeps, Activity::gradient) == microbatches * gradients);
    CHECK(bytes_of(keeps, Activity::parameter) == microbatches * parameters);
    const Report whole = run(
        R"(, "reshard_after_forward": false, "reshard_after_backward": false, "reduce": "last", "ahead": )" +
        ahead);
    CHECK(bytes_of(whole, Activity::gradient) == gradients);
    CHECK(bytes_of(whole, Activity::parameter) == parameters);
  }
}

TEST_CASE("With shards over part of the ranks these gather and scatter, and the others sum their shards") {
  const Scenario scenario = scenario_of({.sync = R"({"kind": "fsdp2", "shard_ranks": 4})", .expert = 1});
  const Report report = simulate(scenario).report;
  const std::int64_t microbatches = scenario.microbatches();
  const std::int64_t inside = once(scenario, Precision::fp32, 4, 4);
  // A ring of four sends 2 x 3/4 of a shard from each of sixteen ranks.
  const std::int64_t across = 4 * holdings(scenario, 0).total() / 4 * 2 * 3 / 4 * 16;
  CHECK(static_cast<double>(bytes_of(report, Activity::gradient)) ==
        Approx(static_cast<double>(microbatches * (inside + across))).epsilon(1e-6));
  CHECK(bytes_of(report, Activity::parameter) == 2 * microbatches * once(scenario, Precision::bf16, 4, 4));
  CHECK_THROWS_WITH(scenario_of({.sync = R"({"kind": "fsdp2", "shard_ranks": 5})", .expert = 1}),
                    Catch::Contains("gradient_sync.shard_ranks: is 5, expected a divisor of the 16 ranks"));
}

TEST_CASE("Units that are gathered ahead come beside compute, and the step takes no longer for it") {
  const auto run = [&](const std::string& ahead) {
    return simulate(scenario_of({.sync = R"({"kind": "fsdp2", "ahead": )" + ahead + "}", .expert = 1}))
        .report;
  };
  const Report none = run("0"), one = run("1"), many = run("16");
  CHECK(one.step_time < none.step_time);
  CHECK(many.step_time <= one.step_time);
  const auto exposed = [](const Report& report) {
    return report.communications[static_cast<std::size_t>(Activity::parameter)].exposed;
  };
  CHECK(exposed(one) < exposed(none));
}

TEST_CASE("The kernels of a step have the bytes of all its copies") {
  const std::string sync = GENERATE(R"({"kind": "ddp"})", R"({"kind": "ddp", "views": true})",
                                    R"({"kind": "fsdp2"})", R"({"kind": "fsdp2", "shards": "bf16"})",
                                    R"({"kind": "fsdp2", "reshard_after_forward": false, "shard_ranks": 8})",
                                    R"({"kind": "fsdp2", "reduce": "last"})");
  const int pipeline = GENERATE(1, 2);
  CAPTURE(sync, pipeline);
  const Scenario scenario = scenario_of({.sync = sync, .pipeline = pipeline});
  const Simulation run = simulate(scenario);
  const Simulation without = simulate(scenario_of({.pipeline = pipeline}));
  const auto streamed = [](const Simulation& of) {
    return static_cast<double>(
        of.report.kernels[static_cast<std::size_t>(KernelClass::streaming)].bytes.count);
  };
  double bytes = 0;
  Time taken;
  for (std::int64_t rank = 0; rank < pipeline; ++rank) {
    for (const auto& [op, times] : copies_of_step(scenario, rank)) {
      bytes += static_cast<double>(op.bytes.count * times) / pipeline;
      taken += time_of({op}, scenario).time * times;
    }
  }
  CHECK(streamed(run) - streamed(without) == Approx(bytes).epsilon(1e-6));
  CHECK(to_seconds(time_of_copies(run)) == Approx(to_seconds(taken)).epsilon(0.04));  // slowest devices
}

TEST_CASE("Buckets and units take the memory that PyTorch's do") {
  const auto memory = [&](const std::string& sync) {
    return memory_of_ranks(work_of(scenario_of({.sync = sync, .expert = 1}))).front();
  };
  const Holdings held = holdings(scenario_of({.expert = 1}), 0);
  const MemoryReport reduced = memory(R"({"kind": "all_reduce"})");
  const MemoryReport ddp = memory(R"({"kind": "ddp"})"), views = memory(R"({"kind": "ddp", "views": true})");
  CHECK(ddp.buffers == Bytes{4} * held.total());  // as large as the gradients
  CHECK(views.buffers == ddp.buffers);            // of which gradients are views
  CHECK(views.gradients == Bytes{});
  CHECK(ddp.gradients == reduced.gradients);
  const MemoryReport mixed = memory(R"({"kind": "fsdp2"})");
  const MemoryReport half = memory(R"({"kind": "fsdp2", "shards": "bf16"})");
  const std::int64_t shard = (held.total() + 15) / 16;
  CHECK(std::abs((mixed.parameters - Bytes{4} * shard).count) < 1000);
  CHECK(std::abs((half.parameters - Bytes{2} * shard).count) < 1000);
  CHECK(mixed.optimizer + mixed.parameters < half.optimizer + half.parameters);  // no masters beside
  const MemoryReport kept = memory(R"({"kind": "fsdp2", "reshard_after_forward": false})");
  CHECK(kept.buffers - mixed.buffers > Bytes{2} * (held.total() / 2));
  const MemoryReport last = memory(R"({"kind": "fsdp2", "reduce": "last"})");
  CHECK(last.gradients == reduced.gradients);
  CHECK(mixed.gradients < last.gradients);
}

TEST_CASE("A folded run equals the full run under DDP and FSDP2") {
  const std::string sync = GENERATE(R"({"kind": "ddp"})", R"({"kind": "fsdp2"})",
                                    R"({"kind": "fsdp2", "reshard_after_forward": false, "shard_ranks": 8})");
  const std::string schedule = GENERATE("1f1b", "zb_h1", "dualpipev");
  CAPTURE(sync, schedule);
  const auto run = [&](const std::string& resolution) {
    return simulate(scenario_of({.sync = sync,
                                 .pipeline = 2,
                                 .sequences = 32,
                                 .schedule = R"({"kind": ")" + schedule + R"("})",
                                 .resolution = resolution}))
        .report;
  };
  const Report folded = run("folded"), full = run("full");
  CHECK(folded.step_time == full.step_time);
  CHECK(folded.breakdown.compute == full.breakdown.compute);
  CHECK(folded.breakdown.exposed_communication == full.breakdown.exposed_communication);
}
