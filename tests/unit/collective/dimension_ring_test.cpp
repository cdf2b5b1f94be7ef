// Rings along the dimensions of a torus: bytes, loads and latency by closed formulas.
#include <fmt/format.h>

#include <algorithm>

#include <catch2/catch.hpp>
#include <map>
#include <numeric>

#include "sim/collective/collective.hpp"
#include "tests/support/fabrics.hpp"

using namespace moesim;
using namespace moesim::literals;
using namespace moesim::testing;

namespace {

Traffic plan(const Fabric& fabric, const std::vector<DeviceId>& group, Operation operation,
             const std::string& more = "") {
  const Value value = parse_json(fmt::format(R"({{"kind": "dimension_ring"{}}})", more), "collective");
  Reader reader(value, "collective");
  return make_member(reader, collectives(), "collective")
      ->plan({.operation = operation, .group = group, .bytes = Bytes{960'000}}, fabric);
}

Fabric torus(const std::string& dimensions, std::uint32_t devices, const std::string& more = "") {
  return fabric_of(
      fmt::format(R"("kind": "torus", "link_rate": "10 GB/s", "dimensions": {}{})", dimensions, more),
      devices);
}

std::vector<DeviceId> first_devices(std::uint32_t count) {
  std::vector<DeviceId> group(count);
  std::iota(group.begin(), group.end(), 0U);
  return group;
}

std::vector<double> load_of(const Traffic& traffic, const Fabric& fabric) {
  std::vector<double> load(fabric.links().size());
  std::vector<LinkId> links;
  for (const Flow& flow : traffic.flows) {
    const std::uint32_t ways = fabric.ways(flow.from, flow.to);
    for (std::uint32_t number = 0; number < ways; ++number) {
      links.clear();
      fabric.route(flow.from, flow.to, links, number);
      for (const LinkId id : links) load[id] += flow.bytes / ways;
    }
  }
  return load;
}

}  // namespace

TEST_CASE("Rings along dimensions send 2 (n-1)/n of the buffer from every rank, as one ring would") {
  struct Case {
    Fabric fabric;
    std::vector<DeviceId> group;
  };
  std::vector<Case> cases;
  cases.push_back({torus("[4, 4]", 16), first_devices(16)});
  cases.push_back({torus("[4, 2, 3]", 48, R"(, "cores_per_chip": 2)"), first_devices(48)});
  cases.push_back({torus("[4, 4]", 32, R"(, "cores_per_chip": 2)"), {0, 2, 16, 18}});  // a box of four chips
  cases.push_back({torus("[4, 4]", 16), {0, 1, 5}});                                   // no box
  cases.push_back({fabric_of(R"("kind": "nvswitch", "nvlink_rate": "1 GB/s")", 8), first_devices(8)});
  cases.push_back(
      {fabric_of(R"("kind": "star", "nic_rate": "1 GB/s", "devices_per_node": 4)", 12), first_devices(12)});
  for (const Case& c : cases) {
    std::map<DeviceId, double> sent, received;
    for (const Flow& flow : plan(c.fabric, c.group, Operation::all_reduce).flows) {
      sent[flow.from] += flow.bytes;
      received[flow.to] += flow.bytes;
    }
    const auto n = static_cast<double>(c.group.size());
    for (const DeviceId rank : c.group) {
      INFO(c.group.size() << " ranks, rank " << rank);
      CHECK(sent.at(rank) == Approx(2 * (n - 1) / n * 960'000).epsilon(1e-12));
      CHECK(received.at(rank) == Approx(sent.at(rank)).epsilon(1e-12));
    }
  }
}

TEST_CASE("On a square torus all links carry the same: (1 - 1/n) of the buffer over the dimensions") {
  // Each rank sends 2 (n-1)/n of the buffer, evenly over its two links in each dimension.
  for (const auto& [dimensions, chips, links] :
       {std::tuple{"[6]", 6U, 2.0}, {"[4, 4]", 16U, 4.0}, {"[3, 3, 3]", 27U, 6.0}}) {
    const Fabric fabric = torus(dimensions, chips);
    for (const double bytes : load_of(plan(fabric, first_devices(chips), Operation::all_reduce), fabric))
      CHECK(bytes == Approx(2 * (1 - 1.0 / chips) * 960'000 / links).epsilon(1e-12));
  }
}

TEST_CASE("A reduce-scatter along dimensions is half of an all-reduce, in bytes, messages and latency") {
  const Fabric fabric = torus("[4, 6]", 48, R"(, "cores_per_chip": 2)");
  const Traffic whole = plan(fabric, first_devices(48), Operation::all_reduce);
  for (const Operation operation : {Operation::reduce_scatter, Operation::all_gather}) {
    const Traffic half = plan(fabric, first_devices(48), operation);
    CHECK(half.messages * 2 == whole.messages);
    CHECK(half.latency * 2 == whole.latency);
    REQUIRE(half.flows.size() == whole.flows.size());
    for (std::size_t i = 0; i < half.flows.size(); ++i)
      CHECK(half.flows[i].bytes * 2 == whole.flows[i].bytes);
  }
}

TEST_CASE("Shards go half way round each dimension: latency grows with the sides of a torus, not its chips") {
  const auto latency = [](const std::string& dimensions, std::uint32_t chips) {
    return plan(torus(dimensions, chips), first_devices(chips), Operation::all_reduce).latency;
  };
  CHECK(latency("[8]", 8) == 8_us);       // 2 x 4 hops of 1 us
  CHECK(latency("[7]", 7) == 6_us);       // 2 x 3
  CHECK(latency("[8, 8]", 64) == 16_us);  // 2 x (4 + 4)
  CHECK(latency("[64]", 64) == 64_us);
  const Fabric open = torus("[4]", 4, R"(, "wrap": [0])");  // the ring closes over three hops
  CHECK(plan(open, first_devices(4), Operation::all_gather).latency == 4_us);
  CHECK(plan(open, first_devices(4), Operation::all_gather, R"(, "startup": "7 us")").latency == 11_us);
}

TEST_CASE("An open line carries twice what a closed ring carries on each link") {
  const Fabric open = torus("[6]", 6, R"(, "wrap": [0])");
  const Fabric closed = torus("[6]", 6);
  const auto highest = [](const Fabric& fabric) {
    const std::vector<double> load = load_of(plan(fabric, first_devices(6), Operation::all_reduce), fabric);
    return *std::max_element(load.begin(), load.end());
  };
  CHECK(highest(open) == Approx(2 * highest(closed)).epsilon(1e-12));
}
