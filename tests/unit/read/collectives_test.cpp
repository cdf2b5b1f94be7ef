// What of "collectives" follows from its algorithms.
#include <fmt/format.h>

#include <catch2/catch.hpp>

#include "sim/read/scenario.hpp"

using namespace moesim;

namespace {

Collectives with(const char* algorithms) {
  const std::string text =
      fmt::format(R"({{"model": {{"name": "small", "hidden": 1024, "vocabulary": 1024, "layers": 1,
              "attention": {{"kind": "grouped_query", "heads": 8, "kv_heads": 8, "head_dim": 128}},
              "feed_forward": {{"kind": "swiglu", "width": 2048}}}},
            "software": {{"kind": "ideal"}},
            "cluster": {{"name": "pair", "device": "configs/devices/h100.json", "devices": 2,
              "topology": {{"kind": "nvswitch", "nvlink_rate": "100 GB/s", "nvlink_latency": "2 us"}}}},
            "batch": {{"sequences": 2, "sequence_length": 1024}},
            "collectives": {{{} "communication_sms": 24}}}})",
                  algorithms);
  return read_scenario(load_document_text(text, MOESIM_SOURCE "/collectives.json")).collectives;
}

}  // namespace

TEST_CASE("Communication is that of NCCL where one of the algorithms is, and else of other kernels") {
  CHECK(with("").held().multiprocessors == 24);
  CHECK(with("").held().kernels == CommunicationKernels::own);
  CHECK(with(R"("gradients": {"kind": "ring"},)").held().kernels == CommunicationKernels::own);
  const Held held = with(R"("gradients": {"kind": "nccl", "generation": "hopper"},)").held();
  CHECK(held.kernels == CommunicationKernels::nccl);
  CHECK(held.multiprocessors == 24);
}

namespace {

/// Of a model with eight experts over both devices.
Scenario exchanging(const std::string& collectives) {
  const std::string text = fmt::format(
      R"({{"model": {{"extends": "configs/models/tiny.json", "moe": {{"experts": 8}}}},
           "software": {{"kind": "ideal"}},
           "cluster": {{"extends": "configs/clusters/h100-64.json", "devices": 16}},
           "batch": {{"sequences": 16, "sequence_length": 256}}, "parallelism": {{"expert": 8}},
           "collectives": {{{}}}}})",
      collectives);
  return read_scenario(load_document_text(text, MOESIM_SOURCE "/collectives.json"));
}

}  // namespace

TEST_CASE("The algorithm of experts is that of both exchanges, where these say nothing") {
  const Collectives both = exchanging(R"("experts": {"kind": "deepep"})").collectives;
  CHECK(both.dispatch == both.combine);
  CHECK(both.dispatch->buffers() == ExchangeBuffers::queues);
  const Collectives one =
      exchanging(R"("experts": {"kind": "hybrid_ep"}, "combine": {"kind": "pairwise"})").collectives;
  CHECK(one.dispatch->buffers() == ExchangeBuffers::whole);
  CHECK(one.combine->buffers() == ExchangeBuffers::channels);
}

TEST_CASE("Kernels of experts take multiprocessors from compute, as many as they copy with") {
  CHECK(exchanging("").collectives.held().multiprocessors == 0);
  CHECK(exchanging(R"("experts": {"kind": "deepep"})").collectives.held().multiprocessors == 20);
  CHECK(exchanging(R"("experts": {"kind": "hybrid_ep"})").collectives.held().multiprocessors == 16);
  const Collectives given = exchanging(R"("experts": {"kind": "deepep"}, "communication_sms": 8,
                                          "gradients": {"kind": "nccl", "generation": "hopper"})")
                                .collectives;
  CHECK(given.held().multiprocessors == 8);
  CHECK(given.held().kernels == CommunicationKernels::own);
}
