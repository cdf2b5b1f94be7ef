// Libraries whose kernels exchange tokens: their published rates, and what multiprocessors have to do with
// them.
#include <fmt/format.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <numeric>

#include "models/cluster/cluster.hpp"
#include "models/config/document.hpp"
#include "sim/collective/link_loads.hpp"

using namespace moesim;

namespace {

/// The clusters of the project, of so many devices.
Fabric fabric_of(const std::string& cluster, std::int64_t devices) {
  const Value value = load_document_text(
      fmt::format(R"({{"extends": "configs/clusters/{}", "devices": {}}})", cluster, devices),
      MOESIM_SOURCE "/cluster.json");
  Reader reader(value, "");
  return read_cluster(reader).fabric;
}

std::unique_ptr<const Collective> library(const std::string& keys) {
  const Value value = parse_json(keys, "collective");
  Reader reader(value, "collective");
  return make_member(reader, collectives(), "collective");
}

/// Blocks that eight of `experts` equally likely experts lie in.
double reach(double blocks, double experts) {
  double none = 1;
  for (int choice = 0; choice < 8; ++choice) none *= 1 - experts / blocks / (experts - choice);
  return blocks * (1 - none);
}

struct Benchmark {
  const Fabric& fabric;
  std::int64_t multiprocessors = 16;
  double row = 7168 * 2;  // bytes
  Leg leg = Leg::again;
  std::vector<std::int64_t> rows{};  // by source and rank, where uneven
};
constexpr double tokens = 4096, fp8_row = 7168 + 7168 / 128 * 4;

/// Of all devices, with eight experts each.
Traffic traffic_of(const Collective& kernels, const Benchmark& benchmark) {
  std::vector<DeviceId> group(benchmark.fabric.device_count());
  std::iota(group.begin(), group.end(), 0U);
  const auto ranks = static_cast<double>(group.size());
  const auto nodes = static_cast<double>(nodes_of(group, benchmark.fabric));
  return kernels.plan({.operation = Operation::all_to_all,
                       .group = group,
                       .bytes = from_bytes(benchmark.row),
                       .rows_per_rank = tokens * 8 / ranks,
                       .reached_rows_per_rank = tokens * reach(ranks, 8 * ranks) / ranks,
                       .reached_rows_per_node = tokens * reach(nodes, 8 * ranks) / nodes,
                       .rows = benchmark.rows,
                       .tokens = tokens,
                       .leg = benchmark.leg,
                       .multiprocessors = benchmark.multiprocessors},
                      benchmark.fabric);
}

double seconds_of(const Collective& kernels, const Benchmark& benchmark) {
  const Traffic traffic = traffic_of(kernels, benchmark);
  LinkLoads loads(benchmark.fabric);
  loads.add(traffic);
  return to_seconds(traffic.latency) + loads.seconds();
}

/// In GB/s, as the libraries' tests count bytes.
double bandwidth_of(const Collective& kernels, const Benchmark& benchmark) {
  const auto ranks = static_cast<double>(benchmark.fabric.device_count());
  const double nodes = ranks / benchmark.fabric.devices_per_node();
  const double reached = nodes > 1 ? reach(nodes, 8 * ranks) : reach(ranks, 8 * ranks);
  return tokens * reached * benchmark.row / seconds_of(kernels, benchmark) / 1e9;
}

}  // namespace

TEST_CASE("DeepEP on eight B200 is within 5 percent of its published rates, whatever its multiprocessors") {
  const Fabric fabric = fabric_of("b200-8.json", 8);
  const auto kernels = library(R"({"kind": "deepep"})");
  const struct {
    std::int64_t multiprocessors;
    double fp8, bf16, combine;
  } published[] = {{16, 246, 348, 302}, {24, 349, 494, 420}, {28, 397, 560, 477}, {32, 443, 619, 524},
                   {36, 482, 635, 549}, {40, 519, 629, 570}, {44, 544, 640, 577}, {48, 554, 646, 586}};
  for (const auto& [count, fp8, bf16, combine] : published) {
    CAPTURE(count);
    CHECK(bandwidth_of(*kernels, {fabric, count, fp8_row}) == Approx(fp8).epsilon(0.05));
    CHECK(bandwidth_of(*kernels, {.fabric = fabric, .multiprocessors = count}) == Approx(bf16).epsilon(0.05));
    CHECK(bandwidth_of(*kernels, {.fabric = fabric, .multiprocessors = count, .leg = Leg::home}) ==
          Approx(combine).epsilon(0.05));
  }
}

TEST_CASE("HybridEP on 16 H100 is within 8 percent of 34 and 62 GB/s of fp8 with 4 and 8 multiprocessors") {
  const Fabric fabric = fabric_of("h100-64.json", 16);
  const auto kernels = library(R"({"kind": "hybrid_ep", "startup": "2 us", "combine_startup": "2 us"})");
  CHECK(bandwidth_of(*kernels, {fabric, 4, fp8_row}) == Approx(34).epsilon(0.08));
  CHECK(bandwidth_of(*kernels, {fabric, 8, fp8_row}) == Approx(62).epsilon(0.08));
}

TEST_CASE("More multiprocessors are never slower, links bound them, and few take as much longer") {
  for (const char* kind : {"deepep", "hybrid_ep"}) {
    for (const std::int64_t devices : {8, 16, 32}) {
      CAPTURE(kind, devices);
      const Fabric fabric = fabric_of("h100-64.json", devices);
      const auto kernels =
          library(fmt::format(R"({{"kind": "{}", "startup": "0 us", "combine_startup": "0 us"}})", kind));
      double before = seconds_of(*kernels, {.fabric = fabric, .multiprocessors = 1});
      for (const std::int64_t count : {2, 4, 8, 16, 32, 64, 128}) {
        const double now = seconds_of(*kernels, {.fabric = fabric, .multiprocessors = count});
        CHECK(now <= before);
        CHECK(now >= before / 2 * 0.999);
        before = now;
      }
      Traffic free = traffic_of(*kernels, {.fabric = fabric, .multiprocessors = 128});
      free.efficiency = free.nvlink_efficiency = 1;
      LinkLoads loads(fabric);
      loads.add(free);
      CHECK(before > loads.seconds());
    }
  }
}

TEST_CASE("Rows are counted before they go out for the first time, and a host reads the counts") {
  const Fabric fabric = fabric_of("h100-64.json", 16);
  const auto latency = [&](const char* keys, Leg leg) {
    return traffic_of(*library(keys), {.fabric = fabric, .leg = leg}).latency;
  };
  const char* waits = R"({"kind": "deepep"})";
  const char* knows = R"({"kind": "deepep", "host_waits": false})";
  const Time layout = Time{74'000'000 / 4096} * 4096;
  CHECK(latency(waits, Leg::out) - latency(knows, Leg::out) == Time{25'000'000});
  CHECK(latency(knows, Leg::out) - latency(knows, Leg::again) == layout);
  CHECK(latency(waits, Leg::again) == latency(knows, Leg::again));
  CHECK(latency(waits, Leg::home) == latency(knows, Leg::home));
  CHECK(library(waits)->host_waits());
  CHECK_FALSE(library(knows)->host_waits());
}

TEST_CASE("The rank with the most rows decides how long multiprocessors copy") {
  const Fabric fabric = fabric_of("b200-8.json", 8);
  const auto kernels = library(R"({"kind": "deepep", "startup": "0 us", "combine_startup": "0 us"})");
  std::vector<std::int64_t> rows(64, 4096);
  const double even = seconds_of(*kernels, {.fabric = fabric, .multiprocessors = 2, .rows = rows});
  CHECK(even == Approx(seconds_of(*kernels, {.fabric = fabric, .multiprocessors = 2})));
  for (std::size_t source = 0; source < 8; ++source) rows[source * 8 + 3] += 512;
  const double hot = seconds_of(*kernels, {.fabric = fabric, .multiprocessors = 2, .rows = rows});
  CHECK(hot > even * 1.05);
}

TEST_CASE("Both take their traffic over rails, as the hierarchical exchange") {
  const Fabric fabric = fabric_of("h100-64.json", 32);
  const std::vector<Flow> rails =
      traffic_of(*library(R"({"kind": "hierarchical"})"), {.fabric = fabric}).flows;
  for (const char* kind : {"deepep", "hybrid_ep"}) {
    const Traffic traffic =
        traffic_of(*library(fmt::format(R"({{"kind": "{}"}})", kind)), {.fabric = fabric});
    REQUIRE(traffic.flows.size() == rails.size());
    for (std::size_t i = 0; i < rails.size(); ++i) {
      CHECK(traffic.flows[i].from == rails[i].from);
      CHECK(traffic.flows[i].to == rails[i].to);
      CHECK(traffic.flows[i].bytes == rails[i].bytes);
    }
  }
}
