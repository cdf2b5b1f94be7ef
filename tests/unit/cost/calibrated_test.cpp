// The calibrated cost model on measurements whose law is known, and on those of a real device.
#include <fmt/format.h>
#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>

#include "models/base/error.hpp"
#include "models/config/document.hpp"
#include "models/cost/calibrated.hpp"
#include "models/cost/fit.hpp"
#include "models/cost/op_line.hpp"
#include "models/cost/roofline.hpp"
#include "tests/support/devices.hpp"

using namespace moesim;
using Catch::Matchers::Contains;

namespace {

/// With a main loop that is faster than what the chip sustains, so that a fit can tell the two apart.
const std::vector<Override>& told_apart() {
  static const std::vector<Override> overrides{parse_override("gemm.bf16.efficiency=1.08"),
                                               parse_override("gemm.bf16.sustained=0.7")};
  return overrides;
}

Value h200_file() { return testing::device_file("h200.json", told_apart()); }

Device h200() { return testing::device("h200.json"); }

const Calibration& real_calibration() {
  static const Calibration calibration = [] {
    const Value document = load_document(MOESIM_SOURCE "/configs/calibration/h200.json");
    Reader reader(document, "");
    return read_calibration(reader);
  }();
  return calibration;
}

Op op_of(const std::string& line) {
  const Value document = parse_json(line, "test");
  Reader reader(document, "");
  const std::vector<Op> ops = read_ops(reader);
  reader.finish();
  return ops.front();
}

/// Questions over a grid; every fifth is held out.
std::vector<std::string> questions() {
  std::vector<std::string> lines;
  for (const int m : {64, 192, 512, 1000, 2048, 3000, 8192, 16384})
    for (const auto& [n, k] : {std::pair(4096, 4096), {1536, 7168}, {7168, 2048}, {14336, 4096}, {576, 7168}})
      lines.push_back(
          fmt::format(R"("op": "gemm", "m": {}, "n": {}, "k": {}, "precision": "bf16")", m, n, k));
  for (const int rows : {512, 2048, 8192, 32768})
    for (const int hidden : {2048, 4096, 7168})
      lines.push_back(fmt::format(R"("op": "rms_norm", "rows": {}, "hidden": {})", rows, hidden));
  for (const int sequence : {512, 1024, 2048, 4096, 8192})
    for (const int heads : {16, 32, 64})
      lines.push_back(fmt::format(
          R"("op": "attention", "batch": 1, "heads": {}, "sequence": {}, "head_dim": 128)", heads, sequence));
  return lines;
}

/// What a device would measure whose ops take what the roofline says of `truth`, times `factor`.
std::string measurements(const Device& truth, double factor) {
  const std::unique_ptr<const Cost> law = make_roofline();
  std::string lines;
  int number = 0;
  for (const std::string& question : questions()) {
    const Op op = op_of("{" + question + "}");
    lines += fmt::format("{}{{{}, \"time_s\": {:.9g}{}}}", lines.empty() ? "" : ",\n", question,
                         to_seconds(law->time(op, truth, 0).time) * factor,
                         ++number % 5 == 0 ? R"(, "held_out": true)" : "");
  }
  return R"({"schema": "moesim.measurements/1", "mode": "full", "devices": [{"device": "NVIDIA H200", "multiprocessors": 132,
             "finished": "2026-01-01T00:00:00Z", "measurements": [)" +
         lines + "]}]}";
}

Calibration fitted(const std::string& text) {
  const Value document = parse_json(text, "test.json");
  Reader reader(document, "");
  return fit_calibration(reader, 0, h200_file());
}

std::string problem(const std::string& text) {
  try {
    static_cast<void>(fitted(text));
  } catch (const InputError& error) {
    return error.what();
  }
  return "no error";
}

Device slower() {
  Device device = h200();
  GemmBehaviour& gemm = device.gemm[static_cast<std::size_t>(Precision::bf16)];
  gemm.efficiency = 0.85;
  gemm.sustained = 0.6;
  device.memory_efficiency = 0.7;
  device.attention_forward.efficiency = 0.7;
  device.contention = {};
  return device;
}

}  // namespace

TEST_CASE("A surface goes through its measurements where there is no noise, and returns to zero far away") {
  const std::vector<SurfacePoint> places{{0, 0}, {1, 0}, {0, 2}, {3, 1}};
  const std::vector<double> values{0.1, -0.2, 0.3, 0.05};
  const Surface surface(places, values, {.slow_length = 4, .fast_length = 1, .noise = 1e-4});
  for (std::size_t i = 0; i < places.size(); ++i)
    CHECK(surface.at(places[i]) == Approx(values[i]).margin(1e-4));
  CHECK(std::abs(surface.at({100, 100})) < 1e-9);
  CHECK(surface.distance({0, 1}) == Approx(1));
}

TEST_CASE("What is left out in closed form is what a surface through the others misses") {
  std::vector<SurfacePoint> places;
  std::vector<double> values;
  for (int i = 0; i < 9; ++i) {
    places.push_back({static_cast<double>(i % 3), static_cast<double>(i / 3)});
    values.push_back(0.1 * std::sin(1.7 * i));
  }
  const SurfaceShape shape{.noise = 0.05};
  Surface whole(places, values, shape);
  whole.judge();
  for (std::size_t left = 0; left < places.size(); ++left) {
    std::vector<SurfacePoint> others = places;
    std::vector<double> rest = values;
    others.erase(others.begin() + static_cast<std::ptrdiff_t>(left));
    rest.erase(rest.begin() + static_cast<std::ptrdiff_t>(left));
    const Surface surface(others, rest, shape);
    CHECK(whole.left_out()[left] == Approx(values[left] - surface.at(places[left])).margin(1e-9));
  }
}

TEST_CASE("A fit finds the device that measurements come from") {
  const Device truth = slower();
  const Calibration calibration = fitted(measurements(truth, 1));
  CHECK(calibration.device.memory_efficiency == Approx(0.7).epsilon(0.05));
  CHECK(calibration.device.gemm_in(Precision::bf16).sustained == Approx(0.6).epsilon(0.05));
  for (const FamilyFit& fit : calibration.families) {
    INFO(name_of(fit.family));
    CHECK(fit.physical.median < 0.05);
    CHECK(fit.held_out.shapes > 0);
    CHECK(fit.held_out.median < 0.05);
  }
}

TEST_CASE("A calibration read back predicts what it predicted, and times follow the measurements") {
  const Calibration calibration = fitted(measurements(slower(), 1));
  const Value document = parse_json(write_calibration(calibration), "calibration.json");
  Reader reader(document, "");
  const Calibration again = read_calibration(reader);
  const auto before = make_calibrated(calibration), after = make_calibrated(again);
  const Calibration slow = fitted(measurements(slower(), 1.2));
  const auto slowed = make_calibrated(slow);
  std::vector<double> ratios;
  for (const std::string& question : questions()) {
    const Op op = op_of("{" + question + "}");
    const double time = to_seconds(before->time(op, calibration.device, 0).time);
    CHECK(to_seconds(after->time(op, again.device, 0).time) == Approx(time).epsilon(1e-3));
    ratios.push_back(to_seconds(slowed->time(op, slow.device, 0).time) / time);
  }
  std::sort(ratios.begin(), ratios.end());
  CHECK(ratios[ratios.size() / 2] == Approx(1.2).epsilon(0.02));
  CHECK(ratios.front() > 1.0);
}

TEST_CASE("A shape far from all measurements is said to be extrapolated, a measured one is not") {
  const auto cost = make_calibrated(real_calibration());
  const Device& device = real_calibration().device;
  CHECK_FALSE(
      cost->time(op_of(R"({"op": "gemm", "m": 4096, "n": 4096, "k": 4096})"), device, 0).extrapolated);
  CHECK(cost->time(op_of(R"({"op": "gemm", "m": 4, "n": 262144, "k": 131072})"), device, 0).extrapolated);
}

TEST_CASE("A calibration answers for its own device alone") {
  const auto cost = make_calibrated(real_calibration());
  Device other = h200();
  other.name = "H800";
  CHECK_THROWS_WITH(cost->time(op_of(R"({"op": "copy", "bytes": 4096})"), other, 0),
                    Contains("calibrates H200, but the cluster is made of H800"));
}

TEST_CASE("What a cluster changes of a measured device changes times as the physical model says") {
  const auto cost = make_calibrated(real_calibration());
  const auto physical = make_roofline();
  const Device told = h200();
  const Device& own = real_calibration().device;
  REQUIRE_FALSE(differing_physics(told, own).empty());
  for (const std::string& question : questions()) {
    const Op op = op_of("{" + question + "}");
    INFO(question);
    const Time measured = cost->time(op, own, 0).time;
    CHECK(cost->time(op, told, 0).time == measured);
    for (const Device& account : {told, own}) {
      Device changed = account;
      changed.memory_bandwidth = account.memory_bandwidth * 1.5;
      changed.kernel_floor = account.kernel_floor * 4;
      const double ratio = physical->time(op, changed, 0).time / physical->time(op, account, 0).time;
      const OpTime answer = cost->time(op, changed, 0);
      CHECK(answer.time / measured == Approx(ratio).epsilon(1e-6));
      CHECK(answer.extrapolated);
    }
  }
}

TEST_CASE("A calibration that does not say what it was fitted from serves the fitted device alone") {
  Calibration calibration = real_calibration();
  calibration.described.reset();
  const auto cost = make_calibrated(calibration);
  const Op op = op_of(R"({"op": "copy", "bytes": 4096})");
  CHECK(cost->time(op, calibration.device, 0).time > Time{});
  CHECK_THROWS_WITH(
      cost->time(op, h200(), 0),
      Contains("does not say from which device file it was fitted") && Contains("another memory_efficiency"));
}

TEST_CASE("Times that were measured at clocks that nobody knows are refused at another clock") {
  const Calibration calibration = fitted(measurements(slower(), 1));
  CHECK_FALSE(calibration.device.power);
  const Value document = parse_json(write_calibration(calibration), "calibration.json");
  Reader reader(document, "");
  CHECK_FALSE(read_calibration(reader).device.power);
  const auto cost = make_calibrated(calibration);
  const Op op = op_of(R"({"op": "gemm", "m": 4096, "n": 4096, "k": 4096})");
  CHECK(cost->time(op, calibration.device, 0).time > Time{});
  CHECK_THROWS_WITH(cost->time(op, calibration.device, {0, 0.9}), Contains("was measured without power"));
}

TEST_CASE("The calibrations here describe the devices of configs as their files do") {
  for (const char* name : {"h100.json", "h200.json"}) {
    const Value document = load_document(std::string(MOESIM_SOURCE "/configs/calibration/") + name);
    Reader reader(document, "");
    const Calibration calibration = read_calibration(reader);
    INFO(name << ": its \"described\" is to be what configs/devices has");
    REQUIRE(calibration.described);
    CHECK(differing_physics(*calibration.described, testing::device(name)) ==
          std::vector<std::string_view>{});
  }
}

TEST_CASE("More multiprocessors held by communication never make a calibrated product faster") {
  const auto cost = make_calibrated(real_calibration());
  const Op op = op_of(R"({"op": "gemm", "m": 8192, "n": 8192, "k": 8192})");
  Time before;
  for (const std::int64_t sms : {0, 4, 8, 20, 32, 48, 64}) {
    const Time time = cost->time(op, real_calibration().device, sms).time;
    CHECK(time >= before);
    before = time;
  }
  const Time alone = cost->time(op, real_calibration().device, 0).time;
  CHECK(to_seconds(before) > 1.3 * to_seconds(alone));
}

TEST_CASE("A grouped product with rows for one expert is an ordinary product") {
  const auto cost = make_calibrated(real_calibration());
  const Op grouped = op_of(R"({"op": "grouped_gemm", "rows": [0, 777, 0], "n": 4096, "k": 7168})");
  const Op single = op_of(R"({"op": "gemm", "m": 777, "n": 4096, "k": 7168})");
  CHECK(cost->time(grouped, real_calibration().device, 0).time ==
        cost->time(single, real_calibration().device, 0).time);
}

TEST_CASE("Whole backward of a product is its two passes") {
  const Value document =
      parse_json(R"({"op": "gemm", "m": 100, "n": 64, "k": 32, "pass": "backward"})", "test");
  Reader reader(document, "");
  const std::vector<Op> ops = read_ops(reader);
  REQUIRE(ops.size() == 2);
  CHECK(ops[0].pass == OpPass::backward_input);
  CHECK(ops[0].n == 32);
  CHECK(ops[1].pass == OpPass::backward_weight);
  CHECK(ops[1].k == 100);
  CHECK(ops[0].flops == ops[1].flops);
}

TEST_CASE("Measurements that are damaged or of another device are refused with the reason") {
  CHECK_THAT(problem(R"({"schema": "moesim.report/1"})"),
             Contains("schema: is 'moesim.report/1', expected 'moesim.measurements/1'"));
  CHECK_THAT(problem(R"({"schema": "moesim.measurements/1", "devices": []})"),
             Contains("devices: are 0, expected number 0"));
  const std::string device = R"({"schema": "moesim.measurements/1", "devices": [{"device": ")";
  CHECK_THAT(problem(device + R"(NVIDIA H200", "multiprocessors": 132, "measurements": []}]})"),
             Contains("measurements: is empty"));
  CHECK_THAT(
      problem(
          device +
          R"(NVIDIA H200", "multiprocessors": 132, "measurements": [{"op": "gemm", "m": 1, "n": 1, "k": 1, "time_s": -1}]}]})"),
      Contains("measurements.0.time_s: is -1, expected 1e-09 to 1000"));
  CHECK_THAT(
      problem(
          device +
          R"(NVIDIA A100", "multiprocessors": 108, "measurements": [{"op": "copy", "bytes": 64, "time_s": 1}]}]})"),
      Contains("is NVIDIA A100 with 108 multiprocessors, but the device file is of H200 with 132"));
}
