// What the power limit does to a step: laws that hold whatever a device draws.
#include <catch2/catch.hpp>

#include "models/cost/power.hpp"
#include "models/cost/roofline.hpp"
#include "sim/read/scenario.hpp"
#include "sim/run/simulate.hpp"
#include "tests/support/devices.hpp"

using namespace moesim;

namespace {

/// Layers as of an 8B model, on eight H200 with a power limit.
Scenario scenario_of(const std::string& limit, const std::string& resolution = "folded") {
  constexpr const char* text = R"({
    "model": {"name": "dense", "hidden": 4096, "vocabulary": 32000, "layers": 4,
              "attention": {"kind": "grouped_query", "heads": 32, "kv_heads": 8},
              "feed_forward": {"width": 14336}},
    "software": {"kind": "ideal"}, "cluster": {"extends": "configs/clusters/h200-64.json", "devices": 8},
    "batch": {"sequences": 32, "sequence_length": 4096},
    "parallelism": {"pipeline": 2}})";
  return read_scenario(load_document_text(
      text, MOESIM_SOURCE "/scenarios/case.json",
      {parse_override("cluster.device.power.limit=" + limit), parse_override("resolution=" + resolution)}));
}

Report report_of(const std::string& limit, const std::string& resolution = "folded") {
  return simulate(scenario_of(limit, resolution)).report;
}

}  // namespace

TEST_CASE("The lower the limit, the longer a step takes, and its mean power is what is held") {
  Time before{};
  for (const char* limit : {"2000 W", "900 W", "700 W", "500 W", "400 W"}) {
    CAPTURE(limit);
    const Report report = report_of(limit);
    CHECK(report.step_time >= before);
    before = report.step_time;
    const Device device = scenario_of(limit).cluster->device;
    const Power held = device.power->limit * device.power->held;
    if (report.power->clock < 1) CHECK(report.power->held / held == Approx(1).margin(2e-3));
    if (report.power->clock == 1) CHECK(report.power->held <= held);
  }
}

TEST_CASE("Below the limit a step is what it is without one") {
  const Report limited = report_of("5 kW");
  CHECK(limited.power->clock == 1);
  Scenario unlimited = scenario_of("5 kW");
  unlimited.cluster->device.power->limit = {1e9};
  CHECK(simulate(unlimited).report.fingerprint == limited.fingerprint);
}

TEST_CASE("A folded step and a full one settle at the same clock") {
  const Report folded = report_of("600 W"), full = report_of("600 W", "full");
  CHECK(folded.power->clock < 1);
  CHECK(folded.power->clock == full.power->clock);
  CHECK(to_seconds(folded.step_time) == Approx(to_seconds(full.step_time)).epsilon(1e-7));
}

TEST_CASE("Energies of kernels add up to the step's, and it is at least what idles") {
  const Report report = report_of("700 W");
  const PowerBehaviour power = *scenario_of("700 W").cluster->device.power;
  double sum = (power.idle * report.step_time).count, sent = 0;
  for (const KernelReport& kernels : report.kernels) sum += kernels.energy.count;
  for (const CommunicationReport& of : report.communications) sent += static_cast<double>(of.bytes);
  sum += power.per_sent.count * sent / static_cast<double>(report.devices);
  CHECK(report.power->energy.count == Approx(sum));
  CHECK(report.power->energy > power.idle * report.step_time);
}

TEST_CASE("No op is faster at a lower clock, and what is bound by memory is hardly slower") {
  const Device h200 = testing::device("h200.json");
  const std::unique_ptr<const Cost> cost = make_roofline();
  const std::vector<Op> ops{
      make_gemm("product", OpPass::forward, 8192, 8192, 8192, Precision::bf16),
      make_gemm("narrow", OpPass::forward, 64, 8192, 8192, Precision::bf16),
      make_grouped_gemm("grouped", OpPass::forward, {900, 0, 300}, 4096, 4096, Precision::bf16),
      make_streaming(OpKind::copy, "copy", OpPass::forward, 1 << 30, 1, 2)};
  for (const Op& op : ops) {
    CAPTURE(op.name);
    Time before{};
    for (const double clock : {1.0, 0.95, 0.9, 0.8, 0.7, 0.5}) {
      const Time time = cost->time(op, h200, {0, clock}).time;
      CHECK(time >= before);
      before = time;
    }
  }
  const auto slower = [&](const Op& op) {
    return cost->time(op, h200, {0, 0.75}).time / cost->time(op, h200, 0).time;
  };
  CHECK(slower(ops[0]) > 1.15);
  CHECK(slower(ops[3]) < 1.1);
}
