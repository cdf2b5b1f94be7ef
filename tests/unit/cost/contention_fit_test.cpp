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
          .communication = communication_slowdown(device, beside_of(op), sms),
          .between_devices = true};
}

/// A device of which products and what streams are slowed, without a power limit.
Device slowed() {
  Device device = testing::device("h200.json");
  device.contention = {};
  for (GemmBehaviour& gemm : device.gemm) gemm.sustained = gemm.efficiency;
  at(device.contention, Beside::products) = {{8, 1.2, 1.1}, {20, 1.45, 1.3}};
  at(device.contention, Beside::streaming) = {{8, 1.05, 1.5}, {20, 1.3, 2}};
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

}  // namespace

TEST_CASE("The curves of contention that times were made with are found in them, class by class") {
  const Device truth = slowed();
  Device device = truth;
  device.contention = {};
  fit_contention(*make_roofline(), device, all_of(truth));
  for (std::size_t i = 0; i < beside_count; ++i) {
    CAPTURE(beside_names[i]);
    check_found(device.contention[i], truth.contention[i]);
  }
}

TEST_CASE("Where communication between devices was measured, copies within memory are not fitted") {
  const Device truth = slowed();
  std::vector<MeasuredBeside> all = all_of(truth);
  for (MeasuredBeside within : all_of(truth)) {
    within.between_devices = false;
    within.seconds *= 2;
    all.push_back(within);
  }
  Device device = truth;
  fit_contention(*make_roofline(), device, all);
  check_found(at(device.contention, Beside::streaming), at(truth.contention, Beside::streaming));
}
