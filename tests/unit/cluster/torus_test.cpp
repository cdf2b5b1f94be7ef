// Tori: routes, and the loads of an all-to-all by closed formulas.
#include <fmt/format.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <numeric>

#include "models/base/random.hpp"
#include "tests/support/fabrics.hpp"

using namespace moesim;
using namespace moesim::literals;
using namespace moesim::testing;

namespace {

Fabric torus(const std::string& dimensions, std::uint32_t devices, const std::string& more = "") {
  return fabric_of(
      fmt::format(R"("kind": "torus", "link_rate": "10 GB/s", "dimensions": {}{})", dimensions, more),
      devices);
}

std::vector<DeviceId> everybody(const Fabric& fabric) {
  std::vector<DeviceId> all(fabric.device_count());
  std::iota(all.begin(), all.end(), 0U);
  return all;
}

/// The load of one byte between every two devices, by the torus' own arithmetic.
std::vector<double> own_load(const Fabric& fabric, const std::vector<DeviceId>& group) {
  std::vector<double> load(fabric.links().size());
  REQUIRE(fabric.add_all_to_all(group, 1, load));
  return load;
}

double highest(const Fabric& fabric, const std::vector<double>& load, LinkClass link_class) {
  double most = 0;
  for (LinkId id = 0; id < load.size(); ++id) {
    if (fabric.link(id).link_class == link_class) most = std::max(most, load[id]);
  }
  return most;
}

std::string refused(const std::string& keys, std::uint32_t devices = 4) {
  return fabric_error(R"("kind": "torus", "link_rate": "1 GB/s", )" + keys, devices);
}

}  // namespace

TEST_CASE("A route on a torus goes along the first dimension, then the next, the shorter way round") {
  const Fabric fabric = torus("[4, 5]", 20);
  CHECK(way(fabric, 0, 7) == "chip (0, 0) > chip (1, 0) > chip (1, 1) > chip (1, 2)");
  CHECK(way(fabric, 0, 18) == "chip (0, 0) > chip (3, 0) > chip (3, 4) > chip (3, 3)");
  CHECK(fabric.latency(0, 18) == 3_us);
  CHECK(fabric.latency(3, 3) == Time{});
}

TEST_CASE("Half way round an even ring traffic takes both ways") {
  const Fabric fabric = torus("[4, 4]", 16);
  CHECK(fabric.ways(0, 1) == 1);
  CHECK(fabric.ways(0, 2) == 2);
  CHECK(fabric.ways(0, 10) == 4);
  CHECK(way(fabric, 0, 2, 0) == "chip (0, 0) > chip (0, 1) > chip (0, 2)");
  CHECK(way(fabric, 0, 2, 1) == "chip (0, 0) > chip (0, 3) > chip (0, 2)");
  CHECK(torus("[5]", 5).ways(0, 2) == 1);
  CHECK(torus("[4]", 4, R"(, "wrap": [0])").ways(0, 2) == 1);
}

TEST_CASE("A dimension that does not wrap has ends, and routes stay between them") {
  const Fabric fabric = torus("[2, 4]", 8, R"(, "wrap": [0, 0])");
  CHECK(way(fabric, 0, 7) == "chip (0, 0) > chip (1, 0) > chip (1, 1) > chip (1, 2) > chip (1, 3)");
  CHECK(fabric.links().size() == 2 * (4 + 2 * 3));
  CHECK(torus("[2, 4]", 8).links().size() == 2 * 2 * 8);
  CHECK(torus("[1, 4]", 4).links().size() == 2 * 4);
}

TEST_CASE("Cores of a chip share its links, and reach each other on the chip") {
  const Fabric fabric = torus("[2, 3]", 12, R"(, "cores_per_chip": 2)");
  CHECK(fabric.devices_per_node() == 2);
  CHECK(way(fabric, 0, 1) == "core 0 > chip (0, 0) > core 1");
  CHECK(way(fabric, 0, 3) == "core 0 > chip (0, 0) > chip (0, 1) > core 3");
  CHECK(way(fabric, 1, 2) == "core 1 > chip (0, 0) > chip (0, 1) > core 2");
  CHECK(fabric.link(0).rate == 40_GBps);  // all four links of the chip
}

TEST_CASE("No route on a torus is longer than the distances along its dimensions add up to") {
  for (const std::string wrap : {"[1, 1, 1]", "[0, 1, 0]"}) {
    const Fabric fabric = torus("[3, 4, 5]", 60, fmt::format(R"(, "wrap": {})", wrap));
    const std::uint32_t extents[] = {3, 4, 5};
    const std::uint32_t strides[] = {20, 5, 1};
    for (DeviceId from = 0; from < 60; ++from) {
      for (DeviceId to = 0; to < 60; ++to) {
        std::int64_t hops = 0;
        for (std::size_t d = 0; d < 3; ++d) {
          const std::uint32_t a = from / strides[d] % extents[d];
          const std::uint32_t b = to / strides[d] % extents[d];
          const std::uint32_t apart = a < b ? b - a : a - b;
          hops += wrap[1 + 3 * d] == '1' ? std::min(apart, extents[d] - apart) : apart;
        }
        if (fabric.latency(from, to) != Time{1'000'000} * hops) FAIL("from " << from << " to " << to);
      }
    }
  }
}

TEST_CASE("The arithmetic of an all-to-all on a torus is the sum over all pairs") {
  RandomStream random = Random(3).stream("boxes");
  struct Shape {
    std::vector<std::uint32_t> extents;
    std::string wrap;
    std::uint32_t cores;
  };
  for (const auto& [extents, wrap, cores] :
       {Shape{{6}, "[1]", 1}, Shape{{7}, "[0]", 2}, Shape{{4, 6}, "[1, 1]", 2}, Shape{{2, 4}, "[1, 0]", 1},
        Shape{{3, 4, 2}, "[1, 1, 1]", 2}, Shape{{5, 1, 4}, "[0, 1, 1]", 1}}) {
    std::uint32_t devices = cores;
    for (const std::uint32_t extent : extents) devices *= extent;
    const std::string dimensions = fmt::format("[{}]", fmt::join(extents, ", "));
    const Fabric fabric =
        torus(dimensions, devices, fmt::format(R"(, "wrap": {}, "cores_per_chip": {})", wrap, cores));
    for (int round = 0; round < 20; ++round) {
      // A box: of each dimension, and of the cores, the coordinates that a draw picks.
      std::vector<std::uint32_t> strides{1}, sizes{cores};
      for (std::size_t d = extents.size(); d-- > 0;) {
        strides.push_back(strides.back() * sizes.back());
        sizes.push_back(extents[d]);
      }
      std::vector<std::vector<bool>> picked;
      for (const std::uint32_t size : sizes) {
        picked.emplace_back(size, false);
        for (std::uint32_t i = 0; i < size; ++i) picked.back()[i] = round == 0 || random.below(2) == 0;
        picked.back()[random.below(size)] = true;
      }
      std::vector<DeviceId> group;
      for (DeviceId device = 0; device < fabric.device_count(); ++device) {
        bool inside = true;
        for (std::size_t d = 0; d < sizes.size(); ++d)
          inside = inside && picked[d][device / strides[d] % sizes[d]];
        if (inside) group.push_back(device);
      }
      const std::vector<double> expected = pairwise_load(fabric, group, 1);
      const std::vector<double> own = own_load(fabric, group);
      for (std::size_t id = 0; id < own.size(); ++id) {
        if (own[id] != Approx(expected[id]).epsilon(1e-12))
          FAIL(dimensions << " round " << round << " link " << id << ": " << own[id] << ", not "
                          << expected[id]);
      }
    }
  }
}

TEST_CASE("What is no box of coordinates is left to be added up pair by pair") {
  const Fabric fabric = torus("[4, 4]", 16);
  std::vector<double> load(fabric.links().size());
  CHECK_FALSE(fabric.add_all_to_all(std::vector<DeviceId>{0, 1, 5}, 1, load));
  CHECK(std::count(load.begin(), load.end(), 0.0) == static_cast<std::ptrdiff_t>(load.size()));
}

TEST_CASE("In an all-to-all each link of a ring of k carries k k / 8 messages, of an odd one (k k - 1) / 8") {
  // Mean distance k / 4 for even k, both directions alike: k (k k / 4) hops over 2 k links.
  for (const std::uint32_t k : {2U, 3U, 4U, 5U, 6U, 8U, 10U, 15U, 32U}) {
    const Fabric fabric = torus(fmt::format("[{}]", k), k);
    const std::vector<double> load = own_load(fabric, everybody(fabric));
    const double square = static_cast<double>(k) * k;
    for (const double messages : load) CHECK(messages == (k % 2 == 0 ? square : square - 1) / 8);
  }
}

TEST_CASE("In an all-to-all the middle link of an open line of k carries k k / 4 messages") {
  for (const std::uint32_t k : {2U, 4U, 10U}) {
    const Fabric fabric = torus(fmt::format("[{}]", k), k, R"(, "wrap": [0])");
    CHECK(highest(fabric, own_load(fabric, everybody(fabric)), LinkClass::ici) == k * k / 4);
  }
}

TEST_CASE("All links of a square torus carry the same in an all-to-all: c c k k k / 8 messages of c cores") {
  for (const auto& [k, cores] : {std::pair{4U, 1U}, {4U, 2U}, {6U, 1U}, {32U, 2U}}) {
    const Fabric fabric =
        torus(fmt::format("[{0}, {0}]", k), k * k * cores, fmt::format(R"(, "cores_per_chip": {})", cores));
    const std::vector<double> load = own_load(fabric, everybody(fabric));
    for (LinkId id = 0; id < load.size(); ++id) {
      const bool ici = fabric.link(id).link_class == LinkClass::ici;
      const double expected = ici ? cores * cores * k * k * k / 8.0 : fabric.device_count() - 1.0;
      if (load[id] != expected) FAIL("link " << id << ": " << load[id] << ", not " << expected);
    }
  }
}

TEST_CASE("A torus bisects at the cables that cross the middle of its first dimension") {
  CHECK(torus("[4, 3]", 12).bisection_bandwidth() == 10_GBps * 6);
  CHECK(torus("[4, 3]", 12, R"(, "wrap": [0, 1])").bisection_bandwidth() == 10_GBps * 3);
  CHECK(torus("[8]", 8).bisection_bandwidth() == 10_GBps * 2);
  CHECK(torus("[4, 2, 2]", 32, R"(, "cores_per_chip": 2)").bisection_bandwidth() == 10_GBps * 8);
  CHECK(torus("[4, 4]", 16, R"(, "link_efficiency": 0.5)").bisection_bandwidth() == 10_GBps * 4);
}

TEST_CASE("A torus refuses what does not fit, with the numbers") {
  CHECK(refused(R"("dimensions": [2, 3])", 4) == "is 4, expected 6: dimensions 2 x 3 with cores_per_chip 1");
  CHECK(refused(R"("dimensions": [2], "cores_per_chip": 2)", 2) ==
        "is 2, expected 4: dimensions 2 with cores_per_chip 2");
  CHECK(refused(R"("hop_latency": "1 us")") ==
        "topology.json: dimensions: is missing, expected the chips along each dimension, as [32, 32]");
  CHECK(refused(R"("dimensions": [0, 4])") == "topology.json: dimensions: is 0, expected 1 to 65536");
  CHECK(refused(R"("dimensions": [2, 2], "wrap": [1])") ==
        "topology.json: wrap: has 1 entries, expected one for each of 2 dimensions");
  CHECK(refused(R"("dimensions": [2, 2], "wrap": [1, 2])") == "topology.json: wrap: is 2, expected 0 to 1");
  CHECK(refused(R"("dimensions": [65536, 65536])") ==
        "topology.json: dimensions: come to more than 1048576 chips");
  CHECK(refused(R"("dimensions": [4], "taper": 2)") ==
        "topology.json: taper: unknown key (known: cores_per_chip, dimensions, hop_latency, kind, "
        "link_efficiency, link_rate, wrap)");
}
