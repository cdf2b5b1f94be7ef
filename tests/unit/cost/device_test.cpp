#include <catch2/catch.hpp>
#include <string>

#include "models/base/at.hpp"
#include "models/base/error.hpp"
#include "models/cluster/device.hpp"
#include "models/config/document.hpp"
#include "models/config/values.hpp"
#include "tests/support/devices.hpp"

using namespace moesim;
using Catch::Matchers::Message;

namespace {

std::string problem(const std::string& override) {
  try {
    static_cast<void>(testing::device("h200.json", {parse_override(override)}));
  } catch (const InputError& error) {
    return error.what();
  }
  return "no error";
}

}  // namespace

TEST_CASE("Every device file is read whole, and names itself and what it is made of") {
  for (const char* file :
       {"a100.json", "h100.json", "h200.json", "h800.json", "b200.json", "gb200.json", "tpu-v3.json"}) {
    INFO(file);
    const Device device = testing::device(file);
    CHECK_FALSE(device.name.empty());
    CHECK(device.gemm_in(Precision::bf16).peak.count > 6e13);
    CHECK(device.gemm_in(Precision::bf16).sustained <= device.gemm_in(Precision::bf16).efficiency);
    CHECK(device.attention_forward.efficiency >= device.attention_backward.efficiency);
  }
}

TEST_CASE("The data sheets' numbers stand in the device files") {
  const Device h800 = testing::device("h800.json");
  CHECK(h800.multiprocessors == 132);
  CHECK(h800.memory == Bytes{81559} * (std::int64_t{1} << 20));  // as the driver reports it
  CHECK(h800.memory_bandwidth.count == Approx(3.35e12));
  CHECK(h800.gemm_in(Precision::fp8).peak.count == Approx(1978.9e12));
  CHECK(testing::device("h200.json").memory_bandwidth.count == Approx(4.8e12));
  CHECK(testing::device("a100.json").gemm_in(Precision::bf16).peak.count == Approx(312e12));
  CHECK(testing::device("a100.json").gemm_in(Precision::fp8).peak.count == 0);
  CHECK(testing::device("tpu-v3.json").memory == Bytes{16} * (std::int64_t{1} << 30));
}

TEST_CASE("A wrong device file is answered with path, value and what was expected") {
  const std::string set = "--set: ";
  CHECK(problem("multiprocessors=0") == set + "multiprocessors: is 0, expected 1 to 100000");
  CHECK(problem("gemm.bf16.tiles=128by256") ==
        set + "gemm.bf16.tiles: holds '128by256', expected rows by columns as \"128x256\"");
  CHECK(problem("gemm.bf16.tiles=[]") == set + "gemm.bf16.tiles: is empty, expected tiles as \"128x256\"");
  CHECK(problem("memory_efficiency=1.2") == set + "memory_efficiency: is 1.2, expected 0.01 to 1");
  CHECK(problem("attention.forward.efficency=1") ==
        set +
            "attention.forward.efficency: unknown key (known: efficiency, giga_scores_per_second, "
            "kernel_overhead, sustained, tile_overhead, unhidden, wide; did you mean 'efficiency'?)");
  const std::string curve = R"(contention={"streaming": [{"communication_sms": 4, "compute": 1.5}, )";
  CHECK(problem(curve + R"({"communication_sms": 3, "compute": 1.6}]})") ==
        set + "contention.streaming.1.communication_sms: is 3, expected 5 to 131");
  CHECK(problem(curve + R"({"communication_sms": 8, "compute": 1.4}]})") ==
        set + "contention.streaming.1.compute: is 1.4, expected 1.5 to 1000");
  CHECK(problem(curve + R"({"communication_sms": 8, "compute": 1.6, "communication": 0.9}]})") ==
        set + "contention.streaming.1.communication: is 0.9, expected 1 to 1000");
  CHECK(problem(R"(contention={"norms": []})") ==
        set + "contention.norms: unknown key (known: attention, grouped, nccl, products, streaming)");
  CHECK(problem(R"(contention=[{"communication_sms": 4, "slowdown": 0.5}])") ==
        set + "contention.0.slowdown: is 0.5, expected 1 to 1000");
  CHECK(problem("power.limit=100 W") ==
        set +
            "power.limit: is 100 W, expected more than 133.7 W: 0.99 of it are "
            "held, and the device draws 132.4 W idle");
}

TEST_CASE("A list of slowdowns is the curve of products and of grouped products, and of no others") {
  const Device device = testing::device(
      "h200.json", {parse_override(R"(contention=[{"communication_sms": 20, "slowdown": 1.4}])")});
  CHECK(beside_communication(device, Beside::products, 10).compute == Approx(1.2));
  CHECK(beside_communication(device, Beside::grouped, 20).compute == Approx(1.4));
  CHECK(beside_communication(device, Beside::attention, 20).compute == 1);
  CHECK(beside_communication(device, Beside::streaming, 20).compute == 1);
  for (const Beside beside : {Beside::products, Beside::streaming})
    CHECK(beside_communication(device, beside, 20).communication == 1);
}

TEST_CASE("NCCL has curves of its own where a device file gives some, and else those of other kernels") {
  Device device;
  device.multiprocessors = 100;
  at(device.contention.own, Beside::products) = {{10, 1.2, 1.1}};
  const auto beside = [&](Beside what, CommunicationKernels kernels) {
    return beside_communication(device, what, {10, kernels});
  };
  CHECK(beside(Beside::products, CommunicationKernels::nccl) ==
        beside(Beside::products, CommunicationKernels::own));
  at(device.contention.nccl, Beside::grouped) = {{20, 1.6, 3}};
  CHECK(beside(Beside::products, CommunicationKernels::own) == ContentionPoint{10, 1.2, 1.1});
  CHECK(beside(Beside::products, CommunicationKernels::nccl).compute == 1);
  CHECK(beside(Beside::grouped, CommunicationKernels::nccl).compute == Approx(1.3));
  CHECK(beside(Beside::grouped, CommunicationKernels::nccl).communication == Approx(2));
  CHECK(beside(Beside::grouped, CommunicationKernels::own).compute == 1);
}

TEST_CASE("What a device file has of contention is what it is written with") {
  Device device = testing::device("h200.json");
  at(device.contention.own, Beside::streaming) = {{8, 1.25, 1.5}, {20, 1.75, 2}};
  at(device.contention.nccl, Beside::products) = {{24, 1.5, 1.25}};
  Value file = empty_object();
  write_contention(file, device.contention);
  Reader reader(file, "");
  CHECK(read_contention(reader, device.multiprocessors) == device.contention);
}

TEST_CASE("Both slowdowns are linear between the points of a curve and constant beyond the last") {
  Device device;
  device.multiprocessors = 100;
  at(device.contention.own, Beside::attention) = {{10, 1.2, 1}, {20, 1.6, 3}};
  const auto compute = [&](std::int64_t sms) {
    return beside_communication(device, Beside::attention, sms).compute;
  };
  const auto communication = [&](std::int64_t sms) {
    return beside_communication(device, Beside::attention, sms).communication;
  };
  CHECK(compute(0) == 1);
  CHECK(compute(5) == Approx(1.1));
  CHECK(compute(10) == Approx(1.2));
  CHECK(compute(15) == Approx(1.4));
  CHECK(compute(50) == Approx(1.6));
  CHECK(communication(0) == 1);
  CHECK(communication(10) == 1);
  CHECK(communication(15) == Approx(2));
  CHECK(communication(50) == Approx(3));
  CHECK(slows_communication(device, 15));
  CHECK(!slows_communication(device, 10));
}

TEST_CASE(
    "Contention is the share of multiprocessors taken, times interference, beyond what power had slowed") {
  Device device;
  device.multiprocessors = 100;
  CHECK(contention(device, 0) == 1);
  CHECK(contention(device, 20) == Approx(1.25));
  at(device.contention.own, Beside::products) = {{20, 1.2}};
  CHECK(contention(device, 20) == Approx(1.5));
  device.gemm[static_cast<std::size_t>(Precision::bf16)].sustained = 0.8;
  CHECK(contention(device, 20) == Approx(1.5 * 0.8));
  CHECK(contention(device, 1) == Approx(1.0));
}

TEST_CASE("A large product on an H200 slows down by 1.3 to 1.6 while 20 of its 132 multiprocessors copy") {
  // Measured with cuBLAS beside writes to a peer: 1.26 to 1.51 of 4,096 rows and more, 1.92 of 1,024.
  const Device device = testing::device("h200.json");
  CHECK(contention(device, 20) > 1.3);
  CHECK(contention(device, 20) < 1.6);
}
