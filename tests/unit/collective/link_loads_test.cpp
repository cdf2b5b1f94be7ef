// What traffic puts on links: bytes as they are, and loads by the share of the rate that is reached.
#include "sim/collective/link_loads.hpp"

#include <catch2/catch.hpp>
#include <map>

#include "tests/support/fabrics.hpp"

using namespace moesim;
using namespace moesim::testing;

namespace {

/// Two nodes of two devices with a NIC each: NVLink 100 GB/s, InfiniBand 50 GB/s.
Fabric two_nodes() {
  return fabric_of(R"("kind": "rail_fat_tree", "devices_per_node": 2, "nodes_per_pod": 2,
                      "nvlink_rate": "100 GB/s", "nvlink_latency": "2 us", "nic_rate": "50 GB/s",
                      "nic_latency": "5 us", "switch_latency": "1 us")",
                   4);
}

std::map<LinkId, LinkWork> taken(LinkLoads& loads) {
  std::vector<LinkWork> works;
  loads.take(works);
  std::map<LinkId, LinkWork> by_link;
  for (const LinkWork& work : works) by_link[work.link] = work;
  return by_link;
}

}  // namespace

TEST_CASE("Links carry the bytes of flows, and are loaded by the efficiency of their class") {
  const Fabric fabric = two_nodes();
  LinkLoads loads(fabric);
  const Traffic traffic{
      .flows = {{0, 1, 600}, {0, 2, 300}}, .latency = {}, .efficiency = 0.5, .nvlink_efficiency = 0.25};
  const LinkLoads::Sums sums = loads.add(traffic, {.busiest = 1.5});
  CHECK(sums.sent == 900);
  CHECK(sums.received == 900);
  CHECK(sums.flows == 2);
  CHECK_FALSE(loads.meets());
  CHECK(loads.seconds() == Approx(600 * 1.5 / 0.25 / 100e9));
  for (const auto& [link, work] : taken(loads)) {
    const bool is_nvlink = fabric.link(link).link_class == LinkClass::nvlink;
    CHECK(work.bytes == (is_nvlink ? 600 : 300));
    CHECK(work.load == Approx(work.bytes * 1.5 / (is_nvlink ? 0.25 : 0.5)));
  }
  CHECK(loads.links().empty());
  CHECK(loads.seconds() == 0);
}

TEST_CASE("Flows that return load the links of the other direction") {
  const Fabric fabric = two_nodes();
  LinkLoads loads(fabric);
  loads.add({.flows = {{0, 3, 100}}, .latency = {}}, {.returns = true});
  const std::map<LinkId, LinkWork> there = taken(loads);
  loads.add({.flows = {{3, 0, 100}}, .latency = {}});
  const std::map<LinkId, LinkWork> back = taken(loads);
  REQUIRE(there.size() == back.size());
  for (const auto& [link, work] : there) CHECK(back.at(link).load == work.load);
}

TEST_CASE("An exchange loads links as its flows do, with and without someone who watches") {
  struct Watcher final : FlowWatcher {
    double bytes = 0;
    void way(const Flow& flow, double share, std::span<const LinkWork> works) override {
      if (!works.empty()) bytes += share * flow.bytes;
    }
  };
  const Fabric torus = fabric_of(R"("kind": "torus", "dimensions": [4, 4], "link_rate": "70 GB/s",
                                    "hop_latency": "1 us", "cores_per_chip": 1)",
                                 16);
  std::vector<DeviceId> group(16);
  for (DeviceId device = 0; device < 16; ++device) group[device] = device;
  const Traffic traffic{.flows = {}, .exchanges = {{group, 100}}, .latency = {}, .efficiency = 0.8};
  LinkLoads loads(torus);
  loads.add(traffic);
  const std::map<LinkId, LinkWork> summed = taken(loads);
  Watcher watcher;
  const LinkLoads::Sums sums = loads.add(traffic, {}, &watcher);
  const std::map<LinkId, LinkWork> one_by_one = taken(loads);
  CHECK(watcher.bytes == Approx(16 * 15 * 100));
  CHECK(sums.flows == 16 * 15);
  REQUIRE(summed.size() == one_by_one.size());
  for (const auto& [link, work] : summed) {
    CHECK(one_by_one.at(link).load == Approx(work.load));
    CHECK(one_by_one.at(link).bytes == Approx(work.bytes));
    CHECK(work.load == Approx(work.bytes / 0.8));
  }
}

TEST_CASE("A few flows added up alone carry what all links together are told, over one way or several") {
  const Fabric torus = fabric_of(R"("kind": "torus", "dimensions": [4, 4], "link_rate": "70 GB/s",
                                    "hop_latency": "1 us", "cores_per_chip": 1)",
                                 16);
  for (const Fabric& fabric : {two_nodes(), torus}) {
    const std::vector<Flow> flows{{0, 3, 100}, {3, 0, 50}, {0, 1, 30}, {2, 2, 70}, {0, 3, 10}, {1, 2, 0}};
    LinkLoads loads(fabric);
    loads.add({.flows = flows, .latency = {}});
    const std::map<LinkId, LinkWork> all = taken(loads);
    const std::vector<LinkBytes> few = bytes_by_link(flows, fabric);
    REQUIRE(few.size() == all.size());
    for (const LinkBytes& one : few) CHECK(one.bytes == Approx(all.at(one.link).bytes));
  }
}

TEST_CASE("Groups meet where they load a common link") {
  const Fabric fabric = two_nodes();
  LinkLoads loads(fabric);
  const auto add = [&](DeviceId from, DeviceId to) {
    loads.begin_group();
    loads.add({.flows = {{from, to, 1}}, .latency = {}});
    return loads.meets();
  };
  CHECK_FALSE(add(0, 1));
  CHECK_FALSE(add(2, 3));
  CHECK(add(0, 1));
  loads.clear();
  CHECK_FALSE(add(0, 1));
  loads.add({.flows = {{0, 1, 1}}, .latency = {}});  // more of the same group
  CHECK_FALSE(loads.meets());
  CHECK(loads.links_of_group().size() == loads.links().size());
}
