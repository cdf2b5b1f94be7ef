// Grouped products measured with libraries and with the own kernel apart, on measurements whose law is known.
#include <fmt/format.h>

#include <catch2/catch.hpp>
#include <cmath>

#include "models/base/error.hpp"
#include "models/config/document.hpp"
#include "models/cost/calibrated.hpp"
#include "models/cost/fit.hpp"
#include "models/cost/grouped_kernel.hpp"
#include "models/cost/op_line.hpp"
#include "models/cost/roofline.hpp"
#include "tests/support/devices.hpp"

using namespace moesim;
using Catch::Matchers::Contains;

namespace {

/// Whose main loop is faster than what the chip sustains: a fit tells the two apart.
Value h200_file() {
  return testing::device_file(
      "h200.json", {parse_override("gemm.bf16.efficiency=1.08"), parse_override("gemm.bf16.sustained=0.7")});
}

Device h200() {
  const Value file = h200_file();
  Reader reader(file, "");
  return read_device(reader);
}

Op op_of(const std::string& question) {
  const Value document = parse_json("{" + question + "}", "test");
  Reader reader(document, "");
  return read_ops(reader).front();
}

/// Grouped products of several layers over few and many experts, even and uneven.
std::vector<std::string> questions() {
  std::vector<std::string> lines;
  for (const auto& [n, k] : {std::pair(4096, 4096), {1536, 2048}, {7168, 2048}, {2048, 768}, {5120, 1536}})
    for (const int experts : {4, 12, 32, 64})
      for (const int mean : {24, 100, 256, 700, 2048}) {
        std::string rows;
        for (int i = 0; i < experts; ++i)
          rows += fmt::format("{}{}", i == 0 ? "" : ", ", mean + (i % 3 - 1) * (mean / 3));
        lines.push_back(fmt::format(R"("op": "grouped_gemm", "rows": [{}], "n": {}, "k": {})", rows, n, k));
      }
  return lines;
}

/// A kernel that is quick to start and slow in the long run.
GemmBehaviour own_kernel() {
  GemmBehaviour kernel = h200().gemm_in(Precision::bf16);
  kernel.efficiency = 0.75;
  kernel.sustained = 0.52;
  kernel.tile_overhead = from_seconds(2.5e-6);
  kernel.unhidden = 0.2;
  return kernel;
}

struct Times {
  double own = 0, library = 0;
};

/// Libraries take what the roofline says and, the more experts, some more.
Times times_of(const Op& op) {
  const Device device = h200();
  const double kernels = static_cast<double>(op.rows.size());
  return {to_seconds(grouped_kernel_time(op, grouped_work(op, device), device, own_kernel())),
          to_seconds(make_roofline()->time(op, device, 0).time) * (1.1 + 0.006 * kernels)};
}

/// Every fifth is held out. A slower way that takes 1.3 times as long or more may come out a tenth wrong.
std::string measurements(bool tells_apart, bool is_rough = false) {
  std::string lines;
  int number = 0;
  for (const std::string& question : questions()) {
    Times times = times_of(op_of(question));
    const double least = std::min(times.own, times.library);
    const bool is_own = times.own < times.library;
    double& slower = is_own ? times.library : times.own;
    const bool is_far = slower > 1.3 * least;
    if (is_rough && is_far) slower *= number % 2 == 0 ? 1.1 : 1 / 1.1;
    lines += fmt::format(R"({}{{{}, "time_s": {:.9g}, "method": "{}", "library_time_s": {:.9g})",
                         lines.empty() ? "" : ",\n", question, least, is_own ? "own" : "cublaslt_streams",
                         times.library);
    if (tells_apart) lines += fmt::format(R"(, "own_time_s": {:.9g})", times.own);
    if (is_rough && is_far) lines += R"(, "slower_is_rough": true)";
    lines += ++number % 5 == 0 ? R"(, "held_out": true})" : "}";
  }
  return R"({"schema": "moesim.measurements/1", "mode": "full", "devices": [{"device": "NVIDIA H200", "multiprocessors": 132,
             "measurements": [)" +
         lines + "]}]}";
}

Calibration fitted(const std::string& text) {
  const Value document = parse_json(text, "test.json");
  Reader reader(document, "");
  return fit_calibration(reader, 0, h200_file());
}

}  // namespace

TEST_CASE("Two ways that take turns are both recovered, and with them the less of the two") {
  std::size_t own_wins = 0;
  for (const std::string& question : questions()) {
    const Times times = times_of(op_of(question));
    own_wins += times.own < times.library ? 1 : 0;
  }
  REQUIRE(own_wins > questions().size() / 4);
  REQUIRE(own_wins < 3 * questions().size() / 4);
  const Calibration calibration = fitted(measurements(true));
  REQUIRE(calibration.families.size() == 1);
  const FamilyFit& fit = calibration.families.front();
  REQUIRE(fit.own.has_value());
  CHECK(fit.own->kernel.sustained == Approx(own_kernel().sustained).epsilon(0.03));
  CHECK(to_seconds(fit.own->kernel.tile_overhead) ==
        Approx(to_seconds(own_kernel().tile_overhead)).epsilon(0.3));
  CHECK(fit.own->physical.median < 0.01);
  CHECK(fit.own->left_out.p90 < 0.02);
  CHECK(fit.held_out.shapes == questions().size() / 5);
  CHECK(fit.held_out.median < 0.02);
  CHECK(fit.held_out.p90 < 0.05);
}

TEST_CASE("Rough times of the slower way do not spoil what the faster one is predicted to take") {
  const FamilyFit fit = fitted(measurements(true, true)).families.front();
  REQUIRE(fit.own.has_value());
  CHECK(fit.held_out.median < 0.02);
  CHECK(fit.held_out.p90 < 0.05);
}

TEST_CASE("Measurements without times of the own kernel are fitted as what was fastest") {
  const Calibration together = fitted(measurements(false));
  REQUIRE(together.families.size() == 1);
  const FamilyFit& fit = together.families.front();
  CHECK_FALSE(fit.own.has_value());
  CHECK(fit.held_out.p90 > fitted(measurements(true)).families.front().held_out.p90);
  CHECK(write_calibration(together).find("\"own\": {") == std::string::npos);
}

TEST_CASE("A calibration with an own kernel predicts the same after it was written and read") {
  const Calibration before = fitted(measurements(true));
  const Value document = parse_json(write_calibration(before), "calibration.json");
  Reader reader(document, "");
  const Calibration after = read_calibration(reader);
  const auto predicted = make_calibrated(before), again = make_calibrated(after);
  for (const std::string& question : questions()) {
    const Op op = op_of(question);
    const Time time = predicted->time(op, before.device, 0).time;
    CHECK(to_seconds(again->time(op, after.device, 0).time) == Approx(to_seconds(time)).epsilon(1e-4));
    const Times times = times_of(op);
    CHECK(to_seconds(time) == Approx(std::min(times.own, times.library)).epsilon(0.1));
  }
}

TEST_CASE("What the own kernel does not serve takes what the libraries take") {
  const Calibration calibration = fitted(measurements(true));
  const auto cost = make_calibrated(calibration);
  // 4 of 8 elements over a multiple of 16 bytes: the own kernel is out, and it is far the faster here.
  const auto time = [&](int width) {
    return to_seconds(cost->time(op_of(fmt::format(R"("op": "grouped_gemm", "rows": [24, 16, 32, 24, 16, 32,
      24, 16, 32, 24, 16, 32, 24, 16, 32, 24, 16, 32, 24, 16, 32, 24, 16, 32, 24, 16, 32, 24, 16, 32, 24, 16],
      "n": {}, "k": 2048)",
                                                   width)),
                                 calibration.device, 0)
                          .time);
  };
  CHECK(time(1540) > 1.05 * time(1536));
}

TEST_CASE("A grouped product with rows for one expert is an ordinary product, with the libraries' time") {
  const Value document = parse_json(R"({"op": "grouped_gemm", "rows": [0, 512], "n": 4096, "k": 14336,
    "time_s": 1e-4, "library_time_s": 1.2e-4, "own_time_s": 1e-4})",
                                    "test");
  Reader reader(document, "");
  const Measured measured = read_measured(reader);
  CHECK(measured.op.kind == OpKind::gemm);
  CHECK(measured.seconds == Approx(1.2e-4));
  CHECK(measured.own_seconds == 0);
}

TEST_CASE("Times of the own kernel that cannot be are refused with their place") {
  const std::string text = measurements(true);
  const std::size_t at = text.find("\"own_time_s\": ") + 14;
  const std::string damaged = text.substr(0, at) + "-" + text.substr(at);
  CHECK_THROWS_WITH(fitted(damaged),
                    Contains("measurements.0.own_time_s: is -") && Contains("expected 0 to 1000"));
}
