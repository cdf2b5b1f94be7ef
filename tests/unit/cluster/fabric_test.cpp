// The topologies link by link, on examples small enough to draw.
#include <fmt/format.h>
#include <catch2/catch.hpp>

#include "models/base/error.hpp"
#include "models/cluster/cluster.hpp"
#include "models/config/document.hpp"

using namespace moesim;
using namespace moesim::literals;

namespace {

/// A topology from the keys that differ from two-GPU nodes with a NIC of 50 GB/s a GPU, two nodes a pod.
Fabric tree(std::uint32_t devices, const std::string& keys) {
  const std::string text =
      fmt::format(R"({{"nvlink_rate": "200 GB/s", "nic_rate": "50 GB/s", "devices_per_node": 2,
      "nodes_per_pod": 2, "nvlink_latency": "3 us", "nic_latency": "2 us", "switch_latency": "0.5 us", {}}})",
                  keys);
  const Value value = load_document_text(text, "topology.json");
  Reader reader(value, "");
  return Fabric(make_member(reader, topologies(), "topology"), devices);
}

/// A route as the names of the vertices it visits.
std::string way(const Fabric& fabric, DeviceId from, DeviceId to) {
  std::vector<LinkId> links;
  fabric.route(from, to, links);
  std::string names = fabric.vertices()[from].name;
  for (const LinkId id : links) names += " > " + fabric.vertices()[fabric.link(id).to].name;
  return names;
}

std::string error_of(const std::string& text, std::uint32_t devices = 4) {
  const Value value = load_document_text(text, "topology.json");
  Reader reader(value, "");
  try {
    Fabric fabric(make_member(reader, topologies(), "topology"), devices);
  } catch (const InputError& error) {
    return error.what();
  }
  return "no error";
}

}  // namespace

TEST_CASE("One NVSwitch joins all devices with a link up and a link down each") {
  const Value value = load_document_text(
      R"({"kind": "nvswitch", "nvlink_rate": "450 GB/s", "nvlink_efficiency": 0.8, "nvlink_latency": "3 us"})",
      "x");
  Reader reader(value, "");
  const Fabric fabric(make_member(reader, topologies(), "topology"), 72);
  CHECK(fabric.devices_per_node() == 72);
  CHECK(fabric.node_of(71) == 0);
  CHECK(fabric.links().size() == 144);
  CHECK(way(fabric, 3, 70) == "gpu 3 > node 0 nvswitch > gpu 70");
  CHECK(way(fabric, 3, 3) == "gpu 3");
  CHECK(fabric.latency(3, 70) == 3_us);
  CHECK(fabric.link(0).rate == 360_GBps);
  CHECK(fabric.bisection_bandwidth() == 360_GBps * 36);
}

TEST_CASE("A rail stays on its own leaf inside a pod and takes the spine between pods") {
  const Fabric fabric = tree(8, R"("kind": "rail_fat_tree")");
  CHECK(way(fabric, 0, 1) == "gpu 0 > node 0 nvswitch > gpu 1");
  CHECK(way(fabric, 1, 3) == "gpu 1 > rail 1 leaf 0 > gpu 3");
  CHECK(way(fabric, 1, 7) == "gpu 1 > rail 1 leaf 0 > spine > rail 1 leaf 1 > gpu 7");
}

TEST_CASE("Traffic to another rail is forwarded over NVLink by the GPU on that rail") {
  const Fabric fabric = tree(8, R"("kind": "rail_fat_tree")");
  CHECK(way(fabric, 0, 3) == "gpu 0 > node 0 nvswitch > gpu 1 > rail 1 leaf 0 > gpu 3");
  CHECK(way(fabric, 0, 7) ==
        "gpu 0 > node 0 nvswitch > gpu 1 > rail 1 leaf 0 > spine > rail 1 leaf 1 > gpu 7");
}

TEST_CASE("Traffic to another rail takes the spine where cross_rail says so") {
  const Fabric fabric = tree(8, R"("kind": "rail_fat_tree", "cross_rail": "spine")");
  CHECK(way(fabric, 0, 3) == "gpu 0 > rail 0 leaf 0 > spine > rail 1 leaf 0 > gpu 3");
  CHECK(way(fabric, 0, 7) == "gpu 0 > rail 0 leaf 0 > spine > rail 1 leaf 1 > gpu 7");
}

TEST_CASE("A tree of three levels meets in the core") {
  const Fabric fabric = tree(8, R"("kind": "rail_fat_tree", "levels": 3, "cross_rail": "spine")");
  CHECK(way(fabric, 0, 2) == "gpu 0 > rail 0 leaf 0 > gpu 2");
  CHECK(way(fabric, 0, 3) == "gpu 0 > rail 0 leaf 0 > pod 0 spine > rail 1 leaf 0 > gpu 3");
  CHECK(way(fabric, 0, 6) ==
        "gpu 0 > rail 0 leaf 0 > pod 0 spine > core > pod 1 spine > rail 0 leaf 1 > gpu 6");
}

TEST_CASE("Planes never meet: another plane is reached over NVLink") {
  const Fabric fabric = tree(8, R"("kind": "multi_plane")");
  CHECK(way(fabric, 0, 6) == "gpu 0 > plane 0 leaf 0 > plane 0 spine > plane 0 leaf 1 > gpu 6");
  CHECK(way(fabric, 0, 7) ==
        "gpu 0 > node 0 nvswitch > gpu 1 > plane 1 leaf 0 > plane 1 spine > plane 1 leaf 1 > gpu 7");
}

TEST_CASE("Latency is that of NVLink, of the NICs, and of each switch after the first") {
  const Fabric two = tree(8, R"("kind": "rail_fat_tree")");
  const Fabric three = tree(8, R"("kind": "rail_fat_tree", "levels": 3)");
  CHECK(two.latency(0, 1) == 3_us);
  CHECK(two.latency(0, 2) == 2_us);
  CHECK(two.latency(0, 3) == 5_us);
  CHECK(two.latency(0, 6) == 3_us);
  CHECK(three.latency(0, 2) == 2_us);
  CHECK(three.latency(0, 6) == 4_us);
  CHECK(two.latency(4, 4) == Time{});
}

TEST_CASE("An odd latency is split without losing a picosecond") {
  const Fabric fabric = tree(4, R"("kind": "rail_fat_tree")");
  CHECK(fabric.latency(0, 2).count == 2'000'000);
  const Value value =
      load_document_text(R"({"kind": "nvswitch", "nvlink_rate": "1 GB/s", "nvlink_latency": "7 ps"})", "x");
  Reader reader(value, "");
  CHECK(Fabric(make_member(reader, topologies(), "topology"), 2).latency(0, 1) == 7_ps);
}

TEST_CASE("GPUs that share a NIC reach it over PCI Express, and one rail needs no forwarding") {
  const Value value =
      load_document_text(R"({"kind": "rail_fat_tree", "devices_per_node": 4, "nics_per_node": 2,
      "nvlink_rate": "200 GB/s", "nic_rate": "50 GB/s", "pcie_rate": "25 GB/s", "nic_latency": "2 us"})",
                         "x");
  Reader reader(value, "");
  const Fabric fabric(make_member(reader, topologies(), "topology"), 8);
  CHECK(way(fabric, 0, 5) == "gpu 0 > node 0 nic 0 > rail 0 leaf 0 > node 1 nic 0 > gpu 5");
  CHECK(way(fabric, 0, 6) ==
        "gpu 0 > node 0 nvswitch > gpu 2 > node 0 nic 1 > rail 1 leaf 0 > node 1 nic 1 > gpu 6");
  CHECK(fabric.latency(0, 5) == 2_us);
  CHECK(fabric.bisection_bandwidth() == 50_GBps * 2);
  std::vector<LinkId> links;
  fabric.route(0, 5, links);
  CHECK(fabric.link(links[0]).link_class == LinkClass::pcie);
  CHECK(fabric.link(links[0]).rate == 25_GBps);
  CHECK(fabric.link(links[1]).link_class == LinkClass::infiniband);
}

TEST_CASE("A fabric that blocks nothing bisects at half its NICs, a tapered one at as much less") {
  const Rate half = 50_GBps * 8;
  CHECK(tree(16, R"("kind": "rail_fat_tree")").bisection_bandwidth() == half);
  CHECK(tree(16, R"("kind": "rail_fat_tree", "cross_rail": "spine")").bisection_bandwidth() == half);
  CHECK(tree(16, R"("kind": "multi_plane")").bisection_bandwidth() == half);
  CHECK(tree(16, R"("kind": "rail_fat_tree", "levels": 3)").bisection_bandwidth() == half);
  CHECK(tree(16, R"("kind": "rail_fat_tree", "taper": 2)").bisection_bandwidth() == half / 2);
  CHECK(tree(16, R"("kind": "multi_plane", "taper": 2)").bisection_bandwidth() == half / 2);
  CHECK(tree(16, R"("kind": "rail_fat_tree", "levels": 3, "taper": 2)").bisection_bandwidth() == half / 2);
  CHECK(tree(16, R"("kind": "rail_fat_tree", "levels": 3, "core_taper": 4)").bisection_bandwidth() ==
        half / 4);
  CHECK(tree(16, R"("kind": "rail_fat_tree", "levels": 3, "taper": 2, "core_taper": 4)")
            .bisection_bandwidth() == half / 8);
}

TEST_CASE("Inside a pod the leaves do not taper") {
  CHECK(tree(4, R"("kind": "rail_fat_tree", "taper": 2)").bisection_bandwidth() == 50_GBps * 2);
}

TEST_CASE("A single device has nothing to bisect") {
  const Value value = load_document_text(R"({"kind": "nvswitch", "nvlink_rate": "1 GB/s"})", "x");
  Reader reader(value, "");
  const Fabric fabric(make_member(reader, topologies(), "topology"), 1);
  CHECK(fabric.bisection_bandwidth() == Rate{0});
  CHECK(fabric.is_connected());
}

TEST_CASE("A fabric is drawn with a box a node and a line a cable") {
  const Value value = load_document_text(R"({"kind": "nvswitch", "nvlink_rate": "450 GB/s"})", "x");
  Reader reader(value, "");
  const Fabric fabric(make_member(reader, topologies(), "topology"), 2);
  CHECK(fabric.dot() == R"(digraph fabric {
  rankdir=BT;
  node [fontname="sans-serif"];
  subgraph cluster_0 {
    label="node 0";
    0 [label="gpu 0", shape=box];
    1 [label="gpu 1", shape=box];
    2 [label="node 0 nvswitch", shape=ellipse];
  }
  0 -> 2 [label="nvlink 450 GB/s", dir=both];
  1 -> 2 [label="nvlink 450 GB/s", dir=both];
}
)");
}

TEST_CASE("A fabric that is cut, or open in one direction only, is not connected") {
  class OneWay final : public Topology {
   public:
    explicit OneWay(bool back) : back_(back) {}
    Wiring wire(std::uint32_t devices) const override {
      Wiring wiring{
          .devices = devices, .devices_per_node = 1, .vertices = {{"gpu 0"}, {"gpu 1"}}, .links = {}};
      wiring.links.push_back({.from = 0, .to = 1, .rate = 1_GBps, .latency = {}});
      if (back_) wiring.links.push_back({.from = 1, .to = 0, .rate = 2_GBps, .latency = {}});
      return wiring;
    }
    void route(const Wiring&, DeviceId from, DeviceId, std::vector<LinkId>& links) const override {
      links.push_back(from);
    }

   private:
    bool back_;
  };
  CHECK_FALSE(Fabric(std::make_unique<OneWay>(false), 2).is_connected());
  const Fabric both(std::make_unique<OneWay>(true), 2);
  CHECK(both.is_connected());
  CHECK(both.bisection_bandwidth() == 1_GBps);
  CHECK(both.dot().find("0 -> 1 [label=\"nvlink 1 GB/s\"];\n  1 -> 0 [label=\"nvlink 2 GB/s\"];") !=
        std::string::npos);
}

TEST_CASE("Topologies refuse what does not fit, with the numbers") {
  const std::string tree_keys = R"("kind": "rail_fat_tree", "nvlink_rate": "1 GB/s", "nic_rate": "1 GB/s")";
  CHECK(error_of("{" + tree_keys + "}", 12) == "is 12, which is no multiple of devices_per_node 8");
  CHECK(error_of("{" + tree_keys + R"(, "nics_per_node": 3})") ==
        "topology.json: nics_per_node: is 3, which does not divide devices_per_node 8");
  CHECK(error_of("{" + tree_keys + R"(, "pcie_rate": "1 GB/s"})") ==
        "topology.json: pcie_rate: is given, but no NIC is shared (nics_per_node equals devices_per_node)");
  CHECK(error_of("{" + tree_keys + R"(, "core_taper": 2})") ==
        "topology.json: core_taper: is given, but a tree of 2 levels has no core");
  CHECK(error_of("{" + tree_keys + R"(, "levels": 4})") == "topology.json: levels: is 4, expected 2 to 3");
  CHECK(error_of("{" + tree_keys + R"(, "nodes_per_pod": 0})") ==
        "topology.json: nodes_per_pod: is 0, expected 1 to 65536");
  CHECK(error_of("{" + tree_keys + R"(, "nic_latency": "-1 us"})") ==
        "topology.json: nic_latency: \"-1 us\" is negative");
  CHECK(error_of("{" + tree_keys + R"(, "taper": 0})") == "topology.json: taper: is 0, expected 0.1 to 100");
  CHECK(error_of("{" + tree_keys + R"(, "nic_efficiency": 1.5})") ==
        "topology.json: nic_efficiency: is 1.5, expected 0.01 to 1");
  CHECK(error_of("{" + tree_keys + R"(, "cross_rail": "pxn"})") ==
        "topology.json: cross_rail: unknown 'pxn' (known: forward, spine)");
  CHECK(error_of(R"({"kind": "multi_plain", "nvlink_rate": "1 GB/s"})") ==
        "topology.json: kind: unknown 'multi_plain' (known: nvswitch, rail_fat_tree, multi_plane, torus, "
        "dragonfly, star; did you mean 'multi_plane'?)");
  CHECK(error_of(R"({"kind": "multi_plane", "nvlink_rate": "1 GB/s", "nic_rate": "1 GB/s", "levels": 2})") ==
        "topology.json: levels: unknown key (known: devices_per_node, kind, nic_efficiency, nic_latency, "
        "nic_rate, "
        "nics_per_node, nodes_per_pod, nvlink_efficiency, nvlink_latency, nvlink_rate, pcie_rate, "
        "switch_latency, "
        "taper)");
}

TEST_CASE("Every topology describes its keys") {
  for (const Entry<Topology>* member : topologies()) {
    INFO(member->name);
    const std::vector<Declaration> keys = describe_member(*member);
    CHECK_FALSE(keys.empty());
    for (const Declaration& key : keys) CHECK_FALSE(key.help.empty());
  }
}
