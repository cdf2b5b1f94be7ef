// Laws of every topology at several sizes: routes exist, connect, are as long back as there, and keep to
// their planes.
#include <algorithm>
#include <catch2/catch.hpp>
#include <set>

#include "models/cluster/cluster.hpp"
#include "models/config/document.hpp"

using namespace moesim;

namespace {

struct Case {
  std::string keys;
  std::uint32_t devices;
};

Fabric make(const Case& c) {
  const Value value = load_document_text("{" + c.keys + "}", "topology.json");
  Reader reader(value, "");
  return Fabric(make_member(reader, topologies(), "topology"), c.devices);
}

const std::string rates = R"("nvlink_rate": "200 GB/s", "nic_rate": "50 GB/s", )";

/// Full pods, part-filled pods, one pod, one node, one device a node; shared NICs; two and three levels.
std::vector<Case> cases() {
  std::vector<Case> all{{R"("kind": "nvswitch", "nvlink_rate": "1 GB/s")", 1},
                        {R"("kind": "nvswitch", "nvlink_rate": "1 GB/s")", 72}};
  for (const std::string kind :
       {R"("kind": "rail_fat_tree")", R"("kind": "rail_fat_tree", "cross_rail": "spine")",
        R"("kind": "rail_fat_tree", "levels": 3)",
        R"("kind": "rail_fat_tree", "levels": 3, "cross_rail": "spine")", R"("kind": "multi_plane")",
        R"("kind": "multi_plane", "nics_per_node": 2)",
        R"("kind": "rail_fat_tree", "nics_per_node": 1, "taper": 3)"}) {
    for (const std::uint32_t devices : {4U, 8U, 24U, 28U, 64U}) {
      all.push_back({rates + R"("devices_per_node": 4, "nodes_per_pod": 3, )" + kind, devices});
    }
  }
  for (const auto& [keys, devices] : {std::pair{R"("dimensions": [4, 3], "cores_per_chip": 2)", 24U},
                                      {R"("dimensions": [2, 4, 2])", 16U},
                                      {R"("dimensions": [6, 4], "wrap": [0, 1])", 24U},
                                      {R"("dimensions": [7])", 7U},
                                      {R"("dimensions": [1], "cores_per_chip": 2)", 2U}}) {
    all.push_back({R"("kind": "torus", "link_rate": "1 GB/s", )" + std::string(keys), devices});
  }
  for (const std::uint32_t devices : {8U, 16U, 24U, 56U, 72U}) {
    all.push_back({R"("kind": "dragonfly", "nic_rate": "1 GB/s", "devices_per_router": 2,
                      "routers_per_group": 4, "global_links_per_router": 2)",
                   devices});
  }
  for (const std::uint32_t devices : {4U, 12U})
    all.push_back({R"("kind": "star", "nic_rate": "1 GB/s", "devices_per_node": 4)", devices});
  all.push_back({rates + R"("devices_per_node": 1, "nodes_per_pod": 4, "kind": "rail_fat_tree")", 11});
  return all;
}

}  // namespace

TEST_CASE(
    "Between any two devices a route starts at the one, ends at the other, and each link begins where the "
    "last ended") {
  for (const Case& c : cases()) {
    const Fabric fabric = make(c);
    INFO(c.keys << " with " << c.devices);
    std::vector<LinkId> links;
    bool connects = true;
    for (DeviceId from = 0; from < c.devices; ++from) {
      for (DeviceId to = 0; to < c.devices; ++to) {
        for (std::uint32_t way = 0; way < fabric.ways(from, to); ++way) {
          links.clear();
          fabric.route(from, to, links, way);
          std::uint32_t at = from;
          std::set<std::uint32_t> visited{at};
          for (const LinkId id : links) {
            connects = connects && id < fabric.links().size() && fabric.link(id).from == at;
            at = fabric.link(id).to;
            connects = connects && visited.insert(at).second;
          }
          connects = connects && at == to;
        }
      }
    }
    CHECK(connects);
    CHECK(fabric.is_connected());
  }
}

TEST_CASE("The way back is as long as the way there, in links and in time") {
  for (const Case& c : cases()) {
    const Fabric fabric = make(c);
    INFO(c.keys << " with " << c.devices);
    std::vector<LinkId> there, back;
    bool symmetric = true;
    for (DeviceId from = 0; from < c.devices; ++from) {
      for (DeviceId to = 0; to < from; ++to) {
        there.clear();
        back.clear();
        fabric.route(from, to, there);
        fabric.route(to, from, back);
        symmetric =
            symmetric && there.size() == back.size() && fabric.latency(from, to) == fabric.latency(to, from);
      }
    }
    CHECK(symmetric);
  }
}

TEST_CASE("A route appends to what is there") {
  const Fabric fabric = make(cases().back());
  std::vector<LinkId> links{7};
  fabric.route(0, 1, links);
  CHECK(links.front() == 7);
  CHECK(links.size() > 1);
}

TEST_CASE("Traffic of one rail leaves NVLink alone, and forwarded traffic uses it once up and once down") {
  for (const std::string kind : {"rail_fat_tree", "multi_plane"}) {
    const Fabric fabric =
        make({rates + R"("devices_per_node": 4, "nodes_per_pod": 2, "kind": ")" + kind + '"', 32});
    std::vector<LinkId> links;
    for (DeviceId to = 4; to < 32; ++to) {
      links.clear();
      fabric.route(1, to, links);
      const auto on_nvlink = std::count_if(links.begin(), links.end(), [&](LinkId id) {
        return fabric.link(id).link_class == LinkClass::nvlink;
      });
      INFO(kind << " from 1 to " << to);
      CHECK(on_nvlink == (to % 4 == 1 ? 0 : 2));
    }
  }
}

TEST_CASE("A route of a multi-plane network visits the switches of one plane only") {
  const Fabric fabric =
      make({rates + R"("devices_per_node": 4, "nodes_per_pod": 2, "kind": "multi_plane")", 32});
  std::vector<LinkId> links;
  for (DeviceId from = 0; from < 32; ++from) {
    for (DeviceId to = 0; to < 32; ++to) {
      links.clear();
      fabric.route(from, to, links);
      std::set<std::string> planes;
      for (const LinkId id : links) {
        const std::string& name = fabric.vertices()[fabric.link(id).to].name;
        if (name.rfind("plane", 0) == 0) planes.insert(name.substr(0, 7));
      }
      const bool same_node = from / 4 == to / 4;
      const std::set<std::string> expected =
          same_node ? std::set<std::string>{} : std::set<std::string>{"plane " + std::to_string(to % 4)};
      if (planes != expected) FAIL("from " << from << " to " << to);
    }
  }
  CHECK(fabric.vertices().size() == 32 + 8 + 16 + 4);
}

TEST_CASE("Twice the rates make twice the bisection, and a larger taper never more") {
  const std::string tree = R"("devices_per_node": 4, "nodes_per_pod": 2, "kind": "rail_fat_tree", "taper": )";
  const std::string doubled = R"("nvlink_rate": "400 GB/s", "nic_rate": "100 GB/s", )";
  double before = 1e300;
  for (const std::string taper : {"0.5", "1", "1.5", "2", "8"}) {
    const Rate once = make({rates + tree + taper, 32}).bisection_bandwidth();
    const Rate twice = make({doubled + tree + taper, 32}).bisection_bandwidth();
    CHECK(twice / once == Approx(2).epsilon(1e-9));
    CHECK(once.count <= before);
    before = once.count;
  }
}
