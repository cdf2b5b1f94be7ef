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
