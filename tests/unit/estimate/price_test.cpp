// What single acts take, by hand, on two devices behind one switch.
#include <fmt/format.h>

#include <catch2/catch.hpp>

#include "sim/estimate/costs.hpp"
#include "sim/read/scenario.hpp"

using namespace moesim;

namespace {

/// 1,024 tokens of 1,024 numbers in bf16 for two tensor-parallel ranks: 2 MiB, of which each sends half.
Scenario two_ranks(double startup_us = 0) {
  return read_scenario(load_document_text(
      fmt::format(R"({{"model": {{"name": "small", "hidden": 1024, "vocabulary": 1024, "layers": 1,
              "attention": {{"kind": "grouped_query", "heads": 8, "kv_heads": 8, "head_dim": 128}},
              "feed_forward": {{"kind": "swiglu", "width": 2048}}}},
            "software": {{"kind": "ideal"}},
            "cluster": {{"name": "pair", "device": "configs/devices/h100.json", "devices": 2,
              "topology": {{"kind": "nvswitch", "nvlink_rate": "100 GB/s", "nvlink_latency": "2 us"}}}},
            "batch": {{"sequences": 2, "sequence_length": 1024}}, "parallelism": {{"tensor": 2}},
            "collectives": {{"communication_sms": 0,
              "tensor": {{"kind": "ring", "efficiency": 0.8, "startup": "{} us"}}}}}})",
                  startup_us),
      MOESIM_SOURCE "/price.json"));
}

ActPrice price_of(Operation operation, double startup_us = 0) {
  CostTables tables(two_ranks(startup_us));
  const Scenario scenario = two_ranks(startup_us);
  const DivisionGroups groups = tables.groups({scenario.layout.sizes(), scenario.layout.placement()});
  Prices prices(scenario, tables.traffic());
  const LayerTimes none;
  const Act call{.kind = ActKind::call, .activity = Activity::tensor, .operation = operation};
  return prices.of(call, {0, none}, groups);
}

}  // namespace

TEST_CASE("Half of 2 MiB at 80 percent of 100 GB/s takes 13.1 us, and the way there 2 us") {
  const ActPrice price = price_of(Operation::all_gather);
  CHECK(price.is_call);
  CHECK(price.time == Time{2'000'000});
  CHECK(price.bytes == Approx(1'048'576 / 0.08));  // picoseconds: 80 GB/s are 0.08 bytes a picosecond
  CHECK(price.sent == Approx(1'048'576));
  CHECK(price.alone() == Time{2'000'000 + 13'107'200});
}

TEST_CASE("An all-reduce is a reduce-scatter and an all-gather, and starts up once") {
  const ActPrice half = price_of(Operation::reduce_scatter, 5);
  const ActPrice whole = price_of(Operation::all_reduce, 5);
  CHECK(half.time == Time{7'000'000});
  CHECK(whole.time == Time{9'000'000});
  CHECK(whole.bytes == Approx(2 * half.bytes));
  CHECK(whole.sent == Approx(2 * half.sent));
}

TEST_CASE("A computation is priced by its block's pass, and what is no time of its own by nothing") {
  CostTables tables(two_ranks());
  const Scenario scenario = two_ranks();
  const DivisionGroups groups = tables.groups({scenario.layout.sizes(), scenario.layout.placement()});
  Prices prices(scenario, tables.traffic());
  LayerTimes times;
  at(times.feed_forward.passes, OpPass::backward_weight) = {.time = Time{123}, .slowdown = 1.25};
  const Act weight{
      .kind = ActKind::compute, .activity = Activity::feed_forward, .pass = OpPass::backward_weight};
  const ActPrice price = prices.of(weight, {0, times}, groups);
  CHECK_FALSE(price.is_call);
  CHECK(price.time == Time{123});
  CHECK(price.slowdown == 1.25F);
  CHECK(prices.of({.kind = ActKind::needs, .activity = Activity::attention}, {0, times}, groups) ==
        ActPrice{});
}
