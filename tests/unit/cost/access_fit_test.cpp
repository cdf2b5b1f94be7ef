// Laws of the kernels of common software, fitted to what they take by size.
#include <fmt/format.h>

#include <catch2/catch.hpp>

#include "models/base/error.hpp"
#include "models/config/document.hpp"
#include "models/cost/access_fit.hpp"
#include "models/cost/calibrated.hpp"
#include "models/cost/fit.hpp"
#include "models/cost/roofline.hpp"
#include "models/transformer/access_laws.hpp"
#include "tests/support/devices.hpp"

using namespace moesim;
using namespace moesim::testing;
using Catch::Matchers::Contains;
namespace kind = pytorch::kind;

namespace {

Op kernel(const Access& access, std::int64_t elements, double bytes_each, std::int64_t kernels = 1) {
  Op op = make_streaming(OpKind::elementwise, "kernel", OpPass::forward, elements, 1, bytes_each);
  op.access = access;
  op.kernels = kernels;
  return op;
}

/// A law under the name of one of the code.
Access law_of(const Access& assumed, double share, double per_cycle, std::int64_t shortest_ns) {
  return {.share = share,
          .per_cycle = per_cycle,
          .start = Time{shortest_ns * 1000} - device("h200.json").kernel_floor,
          .name = assumed.name};
}

/// What an H200 would measure whose kernels follow the laws: 2 and 6 bytes an element, every third size
/// judges.
std::string lines(const std::vector<Access>& laws) {
  const Device h200 = device("h200.json");
  const std::unique_ptr<const Cost> cost = make_roofline();
  std::string text;
  int number = 0;
  for (const Access& law : laws)
    for (std::int64_t elements = 1 << 12; elements <= 1 << 28; elements *= 2)
      for (const int each : {2, 6})
        text += fmt::format(
            R"({}{{"op": "streaming", "access": "{}", "elements": {}, "bytes": {}, "time_s": {:.9g}{}}})",
            text.empty() ? "" : ",\n", law.name, elements, each * elements,
            kernel_seconds(kernel(law, elements, each), *cost, h200),
            ++number % 3 == 0 ? R"(, "held_out": true)" : "");
  return text;
}

std::string measurements(const std::string& lines, const std::string& name = "NVIDIA H200") {
  return fmt::format(
      R"({{"schema": "moesim.measurements/1", "mode": "full", "devices": [{{"device": "{}", "multiprocessors": 132,
          "pytorch": "2.11", "finished": "2026-01-01T00:00:00Z", "measurements": [{}]}}]}})",
      name, lines);
}

Calibration fitted(const std::string& text) {
  const Value document = parse_json(text, "test.json");
  Reader reader(document, "");
  return fit_calibration(reader, 0, device_file("h200.json"));
}

std::string refusal(const std::string& text, const std::optional<Calibration>& to = {}) {
  try {
    const Value document = parse_json(text, "test.json");
    Reader reader(document, "");
    static_cast<void>(to ? add_accesses(reader, 0, *to)
                         : fit_calibration(reader, 0, device_file("h200.json")));
  } catch (const InputError& error) {
    return error.what();
  }
  return "no error";
}

}  // namespace

TEST_CASE("A law that kernels follow comes back from their times by size") {
  const Access of_bytes = law_of(kind::softmax, 0.55, 0, 3100);
  const Access of_elements = law_of(kind::widened, kind::widened.share, 2.2, 700);
  const Access of_both = law_of(kind::adam, 0.3, 1.3, 5000);
  const Calibration calibration = fitted(measurements(lines({of_bytes, of_elements, of_both})));
  REQUIRE(calibration.accesses.size() == 3);
  for (const Access& law : {of_bytes, of_elements, of_both}) {
    const AccessFit* fit = fit_of(*pytorch::access_named(law.name), calibration.accesses);
    REQUIRE(fit != nullptr);
    INFO(law.name);
    CHECK(fit->law.share == Approx(law.share).epsilon(0.02));
    CHECK(fit->law.per_cycle == Approx(law.per_cycle).epsilon(0.02));
    CHECK(to_seconds(fit->law.start) == Approx(to_seconds(law.start)).margin(0.1e-6));
    CHECK(fit->fitted.shapes + fit->held_out.shapes == 34);
    CHECK(fit->held_out.worst < 0.03);
    CHECK(fit->least_elements == 1 << 12);
  }
}

TEST_CASE("Kernels take what their device was measured to take, others what the code assumes") {
  const Calibration calibration = fitted(measurements(lines({law_of(kind::softmax, 0.3, 0, 6000)})));
  const std::unique_ptr<const Cost> cost = make_calibrated(calibration), roofline = make_roofline();
  const Device h200 = device("h200.json");
  const auto over_assumed = [&](const Op& op) {
    return kernel_seconds(op, *cost, h200) / kernel_seconds(op, *roofline, h200);
  };
  CHECK(over_assumed(kernel(kind::softmax, 1 << 26, 8)) == Approx(kind::softmax.share / 0.3).epsilon(0.03));
  CHECK_FALSE(cost->time(kernel(kind::softmax, 1 << 26, 8), h200, 0).extrapolated);
  CHECK(cost->deviation(kernel(kind::softmax, 1 << 26, 8), h200).value() < 0.03);
  CHECK(over_assumed(kernel(kind::copy, 1 << 26, 8)) == Approx(1));
  CHECK(cost->time(kernel(kind::copy, 1 << 26, 8), h200, 0).extrapolated);
  CHECK_FALSE(cost->deviation(kernel(kind::copy, 1 << 26, 8), h200));
  const Access of_a_user{.share = 0.7, .name = "softmax"};
  CHECK(over_assumed(kernel(of_a_user, 1 << 26, 8)) == Approx(1));
  CHECK(cost->time(kernel(kind::softmax, std::int64_t{1} << 32, 8), h200, 0).extrapolated);
}

TEST_CASE("On a device with other numbers kernels take as much longer as their law says") {
  const Calibration calibration = fitted(measurements(lines({law_of(kind::softmax, 0.3, 0, 6000)})));
  const std::unique_ptr<const Cost> cost = make_calibrated(calibration);
  const Op op = kernel(kind::softmax, 1 << 28, 8);
  const OpTime as_measured = cost->time(op, device("h200.json"), 0);
  Device slower = device("h200.json");
  slower.memory_bandwidth.count /= 2;
  const OpTime changed = cost->time(op, slower, 0);
  CHECK(to_seconds(changed.time) == Approx(2 * to_seconds(as_measured.time)).epsilon(0.01));
  CHECK(changed.extrapolated);
}

TEST_CASE("Launches of one op each take the shortest run that its access has") {
  const Calibration calibration = fitted(measurements(lines({law_of(kind::softmax, 0.3, 0, 6000)})));
  const std::unique_ptr<const Cost> cost = make_calibrated(calibration);
  const Device h200 = device("h200.json");
  const auto seconds = [&](std::int64_t kernels) {
    return kernel_seconds(kernel(kind::softmax, 1 << 20, 8, kernels), *cost, h200);
  };
  CHECK(seconds(5) - seconds(1) == Approx(4 * 6e-6).epsilon(0.03));
}

TEST_CASE("A calibration with laws of its own is read as it was written, and new ones take their place") {
  Calibration calibration = fitted(measurements(lines({law_of(kind::softmax, 0.3, 0, 6000)})));
  const auto read = [](const Calibration& written) {
    const Value document = parse_json(write_calibration(written), "written.json");
    Reader reader(document, "");
    return read_calibration(reader);
  };
  const auto add = [&](const std::vector<Access>& laws) {
    const Value document = parse_json(measurements(lines(laws)), "test.json");
    Reader reader(document, "");
    return add_accesses(reader, 0, read(calibration));
  };
  calibration = add({law_of(kind::softmax, 0.6, 0, 6000), law_of(kind::adam, 0.5, 0.4, 5000)});
  REQUIRE(calibration.accesses.size() == 2);
  const Calibration again = read(calibration);
  CHECK(write_calibration(again) == write_calibration(calibration));
  CHECK(fit_of(kind::softmax, again.accesses)->law.share == Approx(0.6).epsilon(0.02));
  CHECK(again.accesses_about.find("pytorch")->text == "2.11");
}

TEST_CASE("An access with few sizes stays as it is assumed") {
  const std::string few =
      R"({"op": "streaming", "access": "copy", "elements": 4096, "bytes": 16384, "time_s": 1e-6})";
  CHECK(fitted(measurements(few)).accesses.empty());
}

TEST_CASE("Measurements of kernels say where they are wrong") {
  const auto of = [](const std::string& keys) {
    return refusal(measurements(R"({"op": "streaming", )" + keys + R"(, "time_s": 1e-6})"));
  };
  CHECK_THAT(of(R"("access": "sofmax", "elements": 8, "bytes": 64)"),
             Contains("unknown 'sofmax'") && Contains("did you mean 'softmax'"));
  CHECK_THAT(of(R"("access": "softmax", "elements": 8, "bytes": -64)"), Contains("bytes") && Contains("-64"));
  CHECK_THAT(of(R"("access": "softmax", "bytes": 64)"), Contains("elements"));
  const Calibration calibration = fitted(measurements(lines({kind::softmax})));
  CHECK_THAT(refusal(measurements(lines({kind::softmax}), "NVIDIA B200"), calibration),
             Contains("NVIDIA B200") && Contains("but the calibration is of H200"));
  CHECK_THAT(refusal(measurements(R"({"op": "copy", "bytes": 64, "time_s": 1e-6})"), calibration),
             Contains("has other ops than streaming"));
}
