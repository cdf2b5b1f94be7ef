// Collectives as measured inside a node: curves, what NCCL's traffic takes with them, and bad tables.
#include <fmt/format.h>

#include <catch2/catch.hpp>
#include <cmath>

#include "models/base/error.hpp"
#include "models/cluster/cluster.hpp"
#include "models/config/document.hpp"
#include "sim/collective/measured.hpp"
#include "sim/read/scenario.hpp"
#include "sim/run/simulate.hpp"

using namespace moesim;
using Catch::Matchers::Contains;

namespace {

const std::string two = R"({"operation": "all_reduce", "ranks": 2, "bytes": [1024, 1048576, 1073741824],)"
                        R"( "time_s": [8e-6, 15e-6, 3.3e-3]})";
const std::string four = R"({"operation": "all_reduce", "ranks": 4, "bytes": [1024, 1048576, 1073741824],)"
                         R"( "time_s": [11e-6, 18e-6, 4.6e-3]})";
const std::string exchange = R"({"operation": "all_to_all", "ranks": 4, "bytes": [4096, 1048576, 268435456],)"
                             R"( "time_s": [7e-6, 14e-6, 650e-6]})";

std::string table(const std::string& curves, const std::string& more = R"("nvls": false)") {
  return R"({"schema": "moesim.collectives/1", "link_rate": "370.8 GB/s", )" + more + R"(, "curves": [)" +
         curves + "]}";
}

MeasuredCollectives measured(const std::string& json) {
  const Value document = parse_json(json, "table");
  Reader reader(document, "");
  return read_measured_collectives(reader);
}

std::string problem(const std::string& json) {
  try {
    measured(json);
  } catch (const InputError& error) {
    return error.what();
  }
  return {};
}

/// Lines of moesim-measure: time in us by size, of an all-gather of two.
MeasuredCollectives fitted(const std::vector<std::pair<int, double>>& points, const std::string& more = "") {
  std::string lines;
  for (const auto& [bytes, microseconds] : points)
    lines += fmt::format(
        R"({}{{"collective": "all_gather", "library": "nccl", "ranks": 2, "nodes": 1, "bytes": {}, "time_s": {}}})",
        lines.empty() ? "" : ", ", bytes, microseconds * 1e-6);
  const Value device =
      parse_json(R"({"device": "NVIDIA H200", "collectives": [)" + lines + more + "]}", "raw");
  Reader reader(device, "");
  return fit_collectives(reader, Rate{370.8e9});
}

struct Asked {
  std::string operation = "all_reduce", engine = "fluid", nvlink = "450 GB/s", more = R"("nvls": false)";
  std::int64_t bytes = 1 << 20;
  int ranks = 2, devices = 4;
};

/// Seconds of one communication inside a node, with a table.
double seconds(const std::string& with, const Asked& asked) {
  const std::string text = fmt::format(
      R"({{"cluster": {{"name": "node", "device": "configs/devices/h200.json", "devices": {},
           "topology": {{"kind": "nvswitch", "nvlink_rate": "{}", "nvlink_efficiency": 0.824,
                         "nvlink_latency": "3.33 us"}}}},
          "communication": {{"operation": "{}", "bytes": "{} B", "group_size": {},
            "collective": {{"kind": "nccl", "generation": "hopper", {}{}}}}},
          "engine": {{"kind": "{}"}}}})",
      asked.devices, asked.nvlink, asked.operation, asked.bytes, asked.ranks, asked.more,
      with.empty() ? "" : R"(, "table": )" + with, asked.engine);
  const Scenario scenario = read_scenario(load_document_text(text, MOESIM_SOURCE "/measured.json"));
  return to_seconds(simulate(scenario).report.step_time);
}

}  // namespace

TEST_CASE("a curve is straight in logarithms, the start-up below it, the last rate beyond it") {
  const TimeCurve curve{.operation = Operation::all_gather,
                        .ranks = 2,
                        .bytes = {1024, 4096, 16384},
                        .seconds = {8e-6, 8e-6, 32e-6},
                        .held_out = {}};
  CHECK(curve.at(1) == 8e-6);
  CHECK(curve.at(2048) == Approx(8e-6));
  CHECK(curve.at(8192) == Approx(16e-6));
  CHECK(curve.at(16384) == Approx(32e-6).epsilon(1e-12));
  CHECK(curve.at(28672) == Approx(56e-6));
}

TEST_CASE("NCCL with a table takes, alone, what was measured at each measured size, on either engine") {
  const std::string with = table(two + ", " + four + ", " + exchange);
  for (const TimeCurve& curve : measured(with).curves) {
    for (std::size_t i = 0; i < curve.bytes.size(); ++i) {
      for (const char* engine : {"ideal", "fluid"}) {
        const Asked asked{.operation = curve.operation == Operation::all_reduce ? "all_reduce" : "all_to_all",
                          .engine = engine,
                          .bytes = std::llround(curve.bytes[i]),
                          .ranks = static_cast<int>(curve.ranks)};
        CAPTURE(asked.operation, curve.ranks, curve.bytes[i], engine);
        CHECK(seconds(with, asked) == Approx(curve.seconds[i]).margin(2e-12).epsilon(1e-9));
      }
    }
  }
}

TEST_CASE("NCCL with a table takes no less time for a larger buffer, with any number of ranks") {
  const std::string with = table(two + ", " + four);
  for (const int ranks : {2, 3, 4, 6, 12}) {
    double before = 0;
    for (std::int64_t bytes = 64; bytes <= std::int64_t{1} << 33; bytes = bytes * 3 / 2) {
      const double now = seconds(with, {.bytes = bytes, .ranks = ranks, .devices = 12});
      CAPTURE(ranks, bytes);
      CHECK(now >= before - 3e-12);
      before = now;
    }
  }
}

TEST_CASE("Numbers of ranks that were not measured lie between their neighbours or follow the nearest") {
  const std::string with = table(two + ", " + four);
  for (const std::int64_t bytes : {1 << 10, 1 << 20, 1 << 30}) {
    const double of_two = seconds(with, {.bytes = bytes, .ranks = 2, .devices = 12});
    const double of_three = seconds(with, {.bytes = bytes, .ranks = 3, .devices = 12});
    const double of_four = seconds(with, {.bytes = bytes, .ranks = 4, .devices = 12});
    const double of_six = seconds(with, {.bytes = bytes, .ranks = 6, .devices = 12});
    CAPTURE(bytes);
    CHECK(of_two < of_three);
    CHECK(of_three < of_four);
    CHECK(of_four < of_six);
    const double other = seconds("", {.bytes = bytes, .ranks = 6, .devices = 12}) /
                         seconds("", {.bytes = bytes, .ranks = 4, .devices = 12});
    CHECK(of_six / of_four == Approx(other).epsilon(0.25));
  }
}

TEST_CASE("Links twice as fast as the measured ones halve what is beyond the start-up") {
  const std::string with = table(two);
  const double startup = 8e-6;
  const double before = seconds(with, {.bytes = 1 << 30});
  const double after = seconds(with, {.nvlink = "900 GB/s", .bytes = 1 << 30});
  CHECK(after == Approx(startup + (before - startup) / 2));
}

TEST_CASE("Operations that were not measured, and groups on several nodes, keep the law") {
  const auto of = [](const std::string& with, const std::string& operation) {
    return seconds(with, {.operation = operation, .bytes = 1 << 26, .ranks = 4});
  };
  CHECK(of(table(exchange), "all_reduce") == of("", "all_reduce"));
  CHECK(of(table(two), "all_to_all") == of("", "all_to_all"));
  const Value cluster = load_document(MOESIM_SOURCE "/configs/clusters/h200-64.json");
  Reader reader(cluster, "");
  const Fabric fabric = read_cluster(reader).fabric;
  const auto plan = [&](const std::string& more) {
    const Value json = parse_json(R"({"kind": "nccl", "generation": "hopper")" + more + "}", "test");
    Reader keys(json, "");
    const DeviceId group[] = {0, 1, 8, 9};
    return make_member(keys, collectives(), "collective")
        ->plan({.operation = Operation::all_reduce, .group = group, .bytes = Bytes{1 << 30}}, fabric);
  };
  const Traffic with = plan(R"(, "table": )" + table(four)), without = plan("");
  CHECK(with.latency == without.latency);
  CHECK(with.efficiency == without.efficiency);
  CHECK(with.nvlink_efficiency == without.nvlink_efficiency);
}

TEST_CASE("A sum in NVSwitch is chosen beside a table that was measured without it") {
  const Asked large{.more = R"("nvls": true)", .bytes = std::int64_t{1} << 32, .ranks = 8, .devices = 8};
  CHECK(seconds(table(four), large) == seconds("", large));
  CHECK(seconds(table(four, R"("nvls": true)"), large) > 1.2 * seconds("", large));
}

TEST_CASE("Times that fall with size are evened out, and sizes held out judge the rest") {
  const MeasuredCollectives curves = fitted(
      {{1024, 9}, {4096, 8}, {16384, 10}},
      R"(, {"collective": "all_gather", "library": "nccl", "ranks": 2, "nodes": 1, "bytes": 8192,)"
      R"( "time_s": 9.9e-6, "held_out": true},)"
      R"( {"collective": "dispatch", "library": "own", "ranks": 2, "nodes": 1, "bytes": 8192, "time_s": 1})");
  REQUIRE(curves.curves.size() == 1);
  const TimeCurve& curve = curves.curves.front();
  CHECK(curve.seconds[0] == Approx(std::sqrt(72.0) * 1e-6));
  CHECK(curve.seconds[1] == curve.seconds[0]);
  CHECK(curve.held_out.shapes == 1);
  CHECK(curve.held_out.worst == Approx(1 - std::sqrt(std::sqrt(72.0) * 10) / 9.9));
  const MeasuredCollectives again = measured(write_measured_collectives(curves));
  CHECK(write_measured_collectives(again) == write_measured_collectives(curves));
}

TEST_CASE("The table of two and four H200 is what their lines give, and holds on half of them within 22 %") {
  const std::string folder = MOESIM_SOURCE "/configs/calibration/";
  const Value lines = load_document(folder + "measurements-collectives-h200.json");
  Reader device(lines.find("devices")->items.front(), "");
  const std::string fit = write_measured_collectives(fit_collectives(device, Rate{370.8e9}));
  const Value document = load_document(folder + "collectives-h200.json");
  Reader reader(document, "");
  const MeasuredCollectives table = read_measured_collectives(reader);
  CHECK(write_measured_collectives(table) == fit);
  REQUIRE(table.curves.size() == 8);
  for (const TimeCurve& curve : table.curves) {
    CAPTURE(curve.operation, curve.ranks);
    CHECK(curve.held_out.shapes == (curve.ranks == 2 ? 10 : 0));
    CHECK(curve.held_out.median < 0.03);
    CHECK(curve.held_out.worst < 0.22);
  }
}

TEST_CASE("A table that is none, or that no link allows, is refused by its key") {
  CHECK_THAT(problem(R"({"schema": "moesim.calibration/1"})"), Contains("expected 'moesim.collectives/1'"));
  CHECK_THAT(problem(table("")), Contains("curves: is missing or empty"));
  CHECK_THAT(problem(table(two + ", " + two)), Contains("curves.1.ranks: is 2 of all_reduce twice"));
  const auto with = [](const std::string& bytes, const std::string& times) {
    return problem(table(R"({"operation": "all_gather", "ranks": 2, "bytes": [)" + bytes +
                         R"(], "time_s": [)" + times + "]}"));
  };
  CHECK_THAT(with("1, 2", "1e-6"), Contains("holds 1 times for 2 sizes"));
  CHECK_THAT(with("2, 1", "1e-6, 2e-6"), Contains("holds 1 after 2, expected rising sizes"));
  CHECK_THAT(with("1, 2", "2e-6, 1e-6"), Contains("expected times that never fall"));
  CHECK_THAT(with("1, 1e9", "1e-6, 1e-3"), Contains("but links of 370.8 GB/s take 0.00135 s"));
  const auto raw = parse_json(R"({"device": "NVIDIA H200"})", "raw");
  Reader reader(raw, "");
  CHECK_THROWS_WITH(fit_collectives(reader, Rate{1e9}), Contains("no times of NCCL on several GPUs"));
}

TEST_CASE("A table of NVLink is refused where devices of a node are joined by another link") {
  const std::string text =
      R"({"cluster": {"name": "hosts", "device": "configs/devices/h200.json", "devices": 4,
          "topology": {"kind": "star", "devices_per_node": 2, "nic_rate": "50 GB/s"}},
         "communication": {"operation": "all_reduce", "bytes": "1 MiB", "group_size": 2,
          "collective": {"kind": "nccl", "generation": "hopper", "table": )" +
      table(two) + "}}}";
  CHECK_THROWS_WITH(read_scenario(load_document_text(text, MOESIM_SOURCE "/measured.json")),
                    Contains("'table' was measured over NVLink, and devices of a node are joined by pcie"));
}
