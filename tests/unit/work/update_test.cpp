// What an update moves, and the tensors that stand in for gradients.
#include <catch2/catch.hpp>

#include "models/base/error.hpp"
#include "sim/read/scenario.hpp"
#include "sim/report/report.hpp"
#include "sim/run/simulate.hpp"
#include "sim/work/update.hpp"

using namespace moesim;

namespace {

const std::string separate_passes = R"(software={"kind": "file", "update_passes": "separate"})";

Scenario mixtral(const std::vector<std::string>& sets) {
  std::vector<Override> overrides;
  for (const std::string& set : sets) overrides.push_back(parse_override(set));
  return load_scenario(MOESIM_SOURCE "/scenarios/mixtral-8x7b-h100.json", overrides);
}

/// Bytes that an update moves for each gradient that is held and each parameter that is updated.
struct BytesEach {
  double held = 0, updated = 0;
};

BytesEach bytes_with(const std::vector<std::string>& sets) {
  const Scenario scenario = mixtral(sets);
  const std::int64_t many = 1000;
  const auto bytes = [&](const std::vector<Repeated>& ops) {
    double sum = 0;
    for (const Repeated& one : ops) sum += one.times * static_cast<double>(one.op.bytes.count);
    return sum / static_cast<double>(many);
  };
  return {bytes(gradient_ops(scenario, many)), bytes(update_ops(scenario, {.all = many}))};
}

}  // namespace

TEST_CASE("Adam in one pass moves each of its operands once") {
  const BytesEach bytes = bytes_with({"precision.gradient=fp32", "precision.moments=fp32"});
  CHECK(bytes.held == 0);
  CHECK(bytes.updated == 4 + 8 + 16 + 2);
}

TEST_CASE(
    "Separate passes zero, check and divide what is held, then cast, measure, clip and copy what is "
    "updated") {
  const BytesEach fp32 = bytes_with({separate_passes, "precision.gradient=fp32", "precision.moments=fp32"});
  CHECK(fp32.held == 4 + 4 + 8);
  CHECK(fp32.updated == 4 + 8 + (4 + 8 + 16) + 6);
  const BytesEach bf16 = bytes_with({separate_passes, "precision.gradient=bf16", "precision.moments=fp32"});
  CHECK(bf16.held == 2 + 2 + 4);
  CHECK(bf16.updated == fp32.updated + 2 + 4);
}

TEST_CASE("States on the host come over its link before the update and are not there with activations") {
  const std::string offload = "optimizer.offload=true";
  CHECK(bytes_with({offload}).updated == bytes_with({}).updated + 4 + 2 * 4);
  CHECK(bytes_with({offload, "optimizer.master=false", "optimizer.moments=bf16"}).updated ==
        bytes_with({"optimizer.master=false", "optimizer.moments=bf16"}).updated + 2 * 2);
  const std::string alike = "cluster.device.spread=0";  // else the slowest of all devices counts
  const Scenario beside = mixtral({alike}), away = mixtral({offload, alike});
  const HeldElements held = held_elements(beside, 0);
  const auto bytes = [&](const Scenario& scenario) {
    return update_bytes(held, holders_of(scenario), scenario.gradient_sync, scenario);
  };
  CHECK(bytes(away).optimizer == Bytes{});
  CHECK(bytes(away).working == bytes(beside).working + bytes(beside).optimizer);
  const Report slow = simulate(away).report, fast = simulate(beside).report;
  const double states = static_cast<double>(bytes(beside).optimizer.count);
  CHECK(to_seconds(slow.step_time - fast.step_time) ==
        Approx(states / away.cluster->device.host_rate.count).epsilon(0.02));
  CHECK(slow.memory_peak() < fast.memory_peak());
  const Scenario twice = mixtral({offload, alike, R"(cluster.device.host_rate="110 GB/s")"});
  CHECK(simulate(twice).report.step_time < slow.step_time);
  CHECK_THROWS_AS(mixtral({offload, R"(cluster.device.host_rate="0 GB/s")"}), InputError);
}

TEST_CASE("Separate passes are those of one kernel on master weights") {
  const std::string separate = separate_passes;
  for (const std::string other : {"optimizer.master=false", "optimizer.implementation=foreach",
                                  "optimizer.clip=true", "optimizer.kind=muon"})
    CHECK_THROWS_AS(mixtral({separate, other}), InputError);
  CHECK_NOTHROW(mixtral({separate, "optimizer.moments=bf16"}));
}

TEST_CASE("Shards in fp32 are master weights that no pass copies") {
  const auto passes = [](const std::string& shards) {
    const Scenario scenario =
        mixtral({"software.kind=hugging_face", "recompute=[]", "gradient_sync.kind=fsdp2", shards});
    return update_ops(scenario, {.all = 1000, .matrices = 1}).size();
  };
  CHECK(passes("gradient_sync.shards=bf16") == passes("gradient_sync.shards=fp32") + 1);
}

TEST_CASE("Each owner updates its part of the matrices and of the rest") {
  const Scenario scenario = mixtral({"optimizer.kind=muon"});
  const HeldElements held = held_elements(scenario, 0);
  const HolderCounts owners = holders_of(scenario);
  const std::vector<Weight> weights = weights_of_rank(scenario, 0);
  const Updated part = updated_part(held, owners, weights);
  CHECK(part.all == shard_of(held, owners));
  CHECK(part.rest == shard_of(held.rest, owners.replicated));
  CHECK(part.share ==
        Approx(static_cast<double>(part.all - part.rest) / static_cast<double>(held.total() - held.rest)));
  std::int64_t elements = 0;
  for (const Weight& weight : weights) elements += weight.elements();
  CHECK(elements == held.total() - held.rest);
}

TEST_CASE("States of each optimizer come to the bytes that it holds for matrices, the rest and factors") {
  const auto states = [](const std::string& optimizer) {
    return memory_of_ranks(work_of(mixtral({"parallelism.pipeline=1", "schedule.kind=1f1b",
                                            "gradient_sync.kind=all_reduce", "optimizer.kind=" + optimizer})))
        .front()
        .optimizer.count;
  };
  const Scenario scenario =
      mixtral({"parallelism.pipeline=1", "schedule.kind=1f1b", "gradient_sync.kind=all_reduce"});
  const HeldElements held = held_elements(scenario, 0);
  const std::int64_t moment = size_of(scenario.precision.moments).count;
  CHECK(states("adamw") == held.total() * (4 + 2 * moment));
  CHECK(states("sgd") == held.total() * (4 + moment));
  CHECK(states("muon") == (held.total() - held.rest) * (4 + moment) + held.rest * (4 + 2 * moment));
  const std::int64_t factors = held.tensors.factors + held.expert_tensors.factors;
  CHECK(states("adafactor") == held.total() * 4 + factors * moment);
  CHECK(factors < held.total() / 500);
}

TEST_CASE("Separate passes lengthen the update, not the passes of the model") {
  const Report one = simulate(mixtral({"parallelism.pipeline=1"})).report;
  const Report separate = simulate(mixtral({"parallelism.pipeline=1", separate_passes})).report;
  CHECK(separate.step_time > one.step_time);
  CHECK(separate.makespan == one.makespan);
}

TEST_CASE("Placeholders of gradients take one bf16 tensor for each shape of weights") {
  // Mixtral 8x7B: hidden 4096, 6144 of queries, keys and values, experts of 14336 (two halves), 32000 words.
  const std::vector<std::string> one_rank{"parallelism.pipeline=1", "schedule.kind=1f1b"};
  std::vector<std::string> with = one_rank;
  with.push_back(R"(software={"kind": "file", "placeholder_gradients": true})");
  const Bytes more = memory_of_ranks(work_of(mixtral(with))).front().buffers -
                     memory_of_ranks(work_of(mixtral(one_rank))).front().buffers;
  const std::int64_t h = 4096;
  CHECK(more.count == 2 * (h * 6144 + h * h + h * 8 + h * 28672 + h * 14336 + h * 32000));
}
