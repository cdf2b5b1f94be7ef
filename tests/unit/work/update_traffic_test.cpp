// What an update moves, and the tensors that stand in for gradients.
#include <catch2/catch.hpp>

#include "sim/read/scenario.hpp"
#include "sim/report/report.hpp"
#include "sim/run/simulate.hpp"
#include "sim/work/holdings.hpp"

using namespace moesim;

namespace {

Scenario mixtral(const std::vector<std::string>& sets) {
  std::vector<Override> overrides;
  for (const std::string& set : sets) overrides.push_back(parse_override(set));
  return load_scenario(MOESIM_SOURCE "/scenarios/mixtral-8x7b-h100.json", overrides);
}

}  // namespace

TEST_CASE("Adam in one pass moves each of its operands once") {
  const UpdateTraffic traffic =
      update_traffic(mixtral({"precision.gradient=fp32", "precision.moments=fp32"}));
  CHECK(traffic.held == 0);
  CHECK(traffic.updated == 4 + 8 + 16 + 2);
}

TEST_CASE(
    "Separate passes zero, check and divide what is held, then cast, measure, clip and copy what is "
    "updated") {
  const UpdateTraffic fp32 = update_traffic(
      mixtral({"software.update_passes=separate", "precision.gradient=fp32", "precision.moments=fp32"}));
  CHECK(fp32.held == 4 + 4 + 8);
  CHECK(fp32.updated == 4 + 8 + (4 + 8 + 16) + 6);
  const UpdateTraffic bf16 = update_traffic(
      mixtral({"software.update_passes=separate", "precision.gradient=bf16", "precision.moments=fp32"}));
  CHECK(bf16.held == 2 + 2 + 4);
  CHECK(bf16.updated == fp32.updated + 2 + 4);
}

TEST_CASE("Separate passes lengthen the update, not the passes of the model") {
  const Report one = simulate(mixtral({"parallelism.pipeline=1"})).report;
  const Report separate =
      simulate(mixtral({"parallelism.pipeline=1", "software.update_passes=separate"})).report;
  CHECK(separate.step_time > one.step_time);
  CHECK(separate.makespan == one.makespan);
}

TEST_CASE("Placeholders of gradients take one bf16 tensor for each shape of weights") {
  // Mixtral 8x7B: hidden 4096, 6144 of queries, keys and values, experts of 14336 (two halves), 32000 words.
  const std::vector<std::string> one_rank{"parallelism.pipeline=1", "schedule.kind=1f1b"};
  std::vector<std::string> with = one_rank;
  with.push_back("software.placeholder_gradients=true");
  const Bytes more = memory_of_ranks(work_of(mixtral(with))).front().buffers -
                     memory_of_ranks(work_of(mixtral(one_rank))).front().buffers;
  const std::int64_t h = 4096;
  CHECK(more.count == 2 * (h * 6144 + h * h + h * 8 + h * 28672 + h * 14336 + h * 32000));
}
