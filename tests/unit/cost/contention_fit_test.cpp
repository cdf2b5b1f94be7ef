#include <catch2/catch.hpp>

#include "models/base/at.hpp"
#include "models/cost/fit_physics.hpp"
#include "models/cost/roofline.hpp"
#include "tests/support/devices.hpp"

using namespace moesim;

namespace {

Op copy_of(std::int64_t bytes) { return make_streaming(OpKind::copy, "copy", OpPass::forward, bytes, 1, 2); }

Op product_of_rows(std::int64_t rows) {
  return make_gemm("gemm", OpPass::forward, rows, 4096, 4096, Precision::bf16);
}

/// What `device` takes for an op, a quarter longer than by the model, and alone, beside communication on
/// `sms`.
MeasuredBeside measured(const Op& op, const Device& device, std::int64_t sms) {
  const std::unique_ptr<const Cost> cost = make_roofline();
  return {.op = op,
          .seconds = 1.25 * to_seconds(cost->time(op, device, sms).time),
          .alone_seconds = 1.25 * to_seconds(cost->time(op, device, 0).time),
          .communication_sms = sms,
          .communication = beside_communication(device, beside_of(op), sms).communication,
          .with = "peer"};
}

/// A device of which products and what streams are slowed, without a power limit.
Device slowed() {
  Device device = testing::device("h200.json");
  device.contention = {};
  for (GemmBehaviour& gemm : device.gemm) gemm.sustained = gemm.efficiency;
  at(device.contention.own, Beside::products) = {{8, 1.2, 1.1}, {20, 1.45, 1.3}};
  at(device.contention.own, Beside::streaming) = {{8, 1.05, 1.5}, {20, 1.3, 2}};
  return device;
}

std::vector<MeasuredBeside> all_of(const Device& device) {
  std::vector<MeasuredBeside> all;
  for (const std::int64_t sms : {20, 8}) {
    for (const std::int64_t size : {4096, 8192, 16384}) {
      all.push_back(measured(product_of_rows(size), device, sms));
      all.push_back(measured(copy_of(size << 15), device, sms));
    }
  }
  return all;
}

void check_found(const ContentionCurve& found, const ContentionCurve& expected) {
  REQUIRE(found.size() == expected.size());
  for (std::size_t i = 0; i < found.size(); ++i) {
    CHECK(found[i].communication_sms == expected[i].communication_sms);
    CHECK(found[i].compute == Approx(expected[i].compute).margin(0.011));
    CHECK(found[i].communication == Approx(expected[i].communication));
  }
}

/// A collective of NCCL beside nothing takes as long as a kernel with `sms` blocks would.
constexpr double round_seconds(std::int64_t sms) { return 4e-3 / static_cast<double>(sms); }

/// What `device` takes for an op beside NCCL, which takes `sms` multiprocessors.
MeasuredBeside beside_nccl(const Op& op, const Device& device, std::int64_t sms, std::int64_t asked) {
  const std::unique_ptr<const Cost> cost = make_roofline();
  const Held held{sms, CommunicationKernels::nccl};
  return {.op = op,
          .seconds = to_seconds(cost->time(op, device, held).time),
          .alone_seconds = to_seconds(cost->time(op, device, 0).time),
          .communication_sms = asked,
          .communication = beside_communication(device, beside_of(op), held).communication,
          .with = "all_gather",
          .alone_round_seconds = round_seconds(sms),
          .bytes = 1 << 20,
          .urgent = true};
}

}  // namespace

TEST_CASE("The curves of contention that times were made with are found in them, class by class") {
  const Device truth = slowed();
  Device device = truth;
  device.contention = {};
  fit_contention(*make_roofline(), device, all_of(truth));
  for (std::size_t i = 0; i < beside_count; ++i) {
    CAPTURE(beside_names[i]);
    check_found(device.contention.own[i], truth.contention.own[i]);
  }
}

TEST_CASE("Where communication between devices was measured, copies within memory are not fitted") {
  const Device truth = slowed();
  std::vector<MeasuredBeside> all = all_of(truth);
  for (MeasuredBeside within : all_of(truth)) {
    within.with = "memory";
    within.seconds *= 2;
    all.push_back(within);
  }
  Device device = truth;
  fit_contention(*make_roofline(), device, all);
  check_found(at(device.contention.own, Beside::streaming), at(truth.contention.own, Beside::streaming));
}

TEST_CASE("NCCL's curves have the number of multiprocessors with which it is as fast as by its own choice") {
  Device truth = slowed();
  at(truth.contention.nccl, Beside::products) = {{24, 1.3, 1.6}};
  std::vector<MeasuredBeside> all;
  for (const std::int64_t size : {4096, 8192, 16384}) {
    const Op op = product_of_rows(size);
    for (const std::int64_t sms : {8, 16, 24, 32}) all.push_back(beside_nccl(op, truth, sms, sms));
    MeasuredBeside usual = beside_nccl(op, truth, 24, 0);
    all.push_back(usual);
    usual.urgent = false;
    usual.bytes <<= 2;
    all.push_back(usual);
    usual.bytes >>= 2;
    usual.communication *= 3;  // a smaller one waits for the end of a kernel
    all.push_back(usual);
  }
  Device device = truth;
  fit_contention(*make_roofline(), device, all);
  check_found(at(device.contention.nccl, Beside::products), at(truth.contention.nccl, Beside::products));
  CHECK(at(device.contention.nccl, Beside::streaming).empty());
  for (const ContentionCurve& curve : device.contention.own) CHECK(curve.empty());
}

TEST_CASE("Where a larger number of multiprocessors was measured to slow less, both have the mean") {
  Device truth = slowed();
  at(truth.contention.own, Beside::products) = {{8, 1.4, 1.1}, {20, 1.2, 1.1}};
  Device device = truth;
  fit_contention(*make_roofline(), device, all_of(truth));
  check_found(at(device.contention.own, Beside::products), {{8, 1.3, 1.1}, {20, 1.3, 1.1}});
}
