// Dragonflies and stars: routes, tapers and bisections on examples small enough to draw.
#include <fmt/format.h>

#include <catch2/catch.hpp>

#include "tests/support/fabrics.hpp"

using namespace moesim;
using namespace moesim::literals;
using namespace moesim::testing;

namespace {

/// Two devices a router, four routers a group, two global links a router: up to nine groups of eight.
std::string dragonfly(const std::string& more = "") {
  return R"("kind": "dragonfly", "nic_rate": "10 GB/s", "devices_per_router": 2, "routers_per_group": 4,
            "global_links_per_router": 2, "nic_latency": "2 us", "switch_latency": "0.5 us")" +
         more;
}

std::string star(const std::string& more = "") {
  return R"("kind": "star", "nic_rate": "100 Gb/s", "devices_per_node": 4)" + more;
}

std::size_t links_of(const Fabric& fabric, LinkClass link_class) {
  std::size_t count = 0;
  for (const Link& link : fabric.links()) count += link.link_class == link_class ? 1 : 0;
  return count;
}

}  // namespace

TEST_CASE("A minimal route of a dragonfly crosses one global link and a local one on either side") {
  const Fabric fabric = fabric_of(dragonfly(), 72);
  CHECK(way(fabric, 0, 1) == "gpu 0 > group 0 router 0 > gpu 1");
  CHECK(way(fabric, 0, 6) == "gpu 0 > group 0 router 0 > group 0 router 3 > gpu 6");
  // Router 0 of group 0 holds its links to groups 1 and 2, router 3 those to 7 and 8.
  CHECK(way(fabric, 0, 8) == "gpu 0 > group 0 router 0 > group 1 router 0 > gpu 8");
  CHECK(way(fabric, 0, 71) ==
        "gpu 0 > group 0 router 0 > group 0 router 3 > group 8 router 0 > group 8 router 3 > gpu 71");
  CHECK(fabric.latency(0, 1) == 2_us);
  CHECK(fabric.latency(0, 6) == 2500_ns);
  CHECK(fabric.latency(0, 71) == 3500_ns);
}

TEST_CASE("Every two routers of a group and every two groups of a dragonfly are joined") {
  const Fabric fabric = fabric_of(dragonfly(), 72);
  CHECK(links_of(fabric, LinkClass::local) == 9 * 12);
  CHECK(links_of(fabric, LinkClass::global) == 72);
  CHECK(fabric.ways(0, 71) == 1);
  // Of eight global links three groups use four for each other.
  const Fabric three = fabric_of(dragonfly(), 24);
  CHECK(three.ways(0, 23) == 4);
  CHECK(three.ways(0, 7) == 1);
  CHECK(links_of(three, LinkClass::global) == 3 * 4 * 2);
  CHECK(way(three, 0, 8, 0) == "gpu 0 > group 0 router 0 > group 1 router 0 > gpu 8");
  CHECK(way(three, 0, 8, 3) ==
        "gpu 0 > group 0 router 0 > group 0 router 3 > group 1 router 3 > group 1 router 0 > gpu 8");
}

TEST_CASE("An all-to-all loads all global links of a dragonfly alike") {
  for (const std::uint32_t devices : {16U, 24U, 72U}) {
    const Fabric fabric = fabric_of(dragonfly(), devices);
    std::vector<DeviceId> all(devices);
    for (DeviceId device = 0; device < devices; ++device) all[device] = device;
    const std::vector<double> load = pairwise_load(fabric, all, 1);
    for (LinkId id = 0; id < load.size(); ++id) {
      if (fabric.link(id).link_class != LinkClass::global) continue;
      // From each of a group's eight devices to each of another's, over so many ways.
      CHECK(load[id] == Approx(64.0 / fabric.ways(0, devices - 1)).epsilon(1e-12));
    }
  }
}

TEST_CASE("A dragonfly bisects at the global links between its halves, and a taper of 2 halves that") {
  // Of g groups each pair has 1 / (g - 1) of what a group's devices send, over the taper: eight devices of
  // 10 GB/s.
  for (const std::uint32_t groups : {2U, 4U, 8U}) {
    INFO(groups);
    const double between = groups / 2.0 * (groups / 2.0) / (groups - 1.0);
    const std::string fast = R"(, "local_ratio": 100)";
    for (const int taper : {2, 4}) {
      const Fabric fabric = fabric_of(dragonfly(fast + fmt::format(R"(, "taper": {})", taper)), 8 * groups);
      CHECK(fabric.bisection_bandwidth() / (80_GBps * between / taper) == Approx(1).epsilon(1e-9));
    }
  }
}

TEST_CASE("A dragonfly refuses what does not fit, with the numbers") {
  CHECK(fabric_error(dragonfly(), 12) ==
        "is 12, which is no multiple of the 8 of a group (devices_per_router 2 x routers_per_group 4)");
  CHECK(fabric_error(dragonfly(), 80) ==
        "is 80, which makes 10 groups, expected at most 9: one more than the global links of a group "
        "(routers_per_group 4 x global_links_per_router 2)");
  CHECK(fabric_error(dragonfly(R"(, "taper": 0)"), 8) == "topology.json: taper: is 0, expected 0.1 to 100");
  CHECK(fabric_error(dragonfly(R"(, "local_ratio": 0)"), 8) ==
        "topology.json: local_ratio: is 0, expected 0.01 to 100");
  CHECK(fabric_error(dragonfly(), 8) == "no error");
}

TEST_CASE("The devices of a star's host share its NIC, and meet on the switch") {
  const Fabric fabric = fabric_of(star(), 12);
  CHECK(way(fabric, 0, 3) == "gpu 0 > host 0 > gpu 3");
  CHECK(way(fabric, 0, 11) == "gpu 0 > host 0 > switch > host 2 > gpu 11");
  CHECK(fabric.latency(0, 3) == 3330_ns);
  CHECK(fabric.latency(0, 11) == 3600_ns);
  CHECK(links_of(fabric, LinkClass::pcie) == 24);
  CHECK(links_of(fabric, LinkClass::ethernet) == 6);
  CHECK(links_of(fabric_of(star(R"(, "inside": "nvlink")"), 12), LinkClass::nvlink) == 24);
  CHECK(fabric_of(star(), 16).bisection_bandwidth() == Rate{12.5e9} * 2);
}

TEST_CASE("A star refuses what does not fit, with the numbers") {
  CHECK(fabric_error(star(), 6) == "is 6, which is no multiple of devices_per_node 4");
  CHECK(fabric_error(star(R"(, "inside": "cxl")"), 8) ==
        "topology.json: inside: unknown 'cxl' (known: pcie, nvlink)");
  CHECK(fabric_error(star(R"(, "nic_latency": "2 us")"), 8) ==
        "topology.json: nic_latency: is 2 us, expected at least inside_latency 3.33 us, which is part of it");
  CHECK(fabric_error(star(R"(, "taper": 2)"), 8) ==
        "topology.json: taper: unknown key (known: devices_per_node, inside, inside_latency, inside_rate, "
        "kind, "
        "nic_efficiency, nic_latency, nic_rate)");
}

TEST_CASE("Taper has one meaning: of a tree and a dragonfly alike, 4 leaves half of what 2 leaves") {
  const std::string tree = R"("kind": "rail_fat_tree", "nvlink_rate": "1 TB/s", "nic_rate": "10 GB/s",
                              "devices_per_node": 2, "nodes_per_pod": 4)";
  for (const std::string& keys : {tree, dragonfly(R"(, "local_ratio": 100)")}) {
    const auto bisection = [&](int taper) {
      return fabric_of(keys + fmt::format(R"(, "taper": {})", taper), 64).bisection_bandwidth();
    };
    CHECK(bisection(2) / bisection(4) == Approx(2).epsilon(1e-9));
  }
}
