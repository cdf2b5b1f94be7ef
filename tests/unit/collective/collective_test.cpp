// Who sends how much to whom: exact traffic on small fabrics.
#include <fmt/format.h>

#include <catch2/catch.hpp>
#include <cmath>
#include <map>
#include <numeric>

#include "models/base/error.hpp"
#include "models/base/random.hpp"
#include "models/cluster/cluster.hpp"
#include "sim/collective/collective.hpp"

using namespace moesim;

namespace {

/// A fabric of nodes of `per_node` devices with a NIC each: NVLink 100 GB/s, InfiniBand 50 GB/s.
Fabric nodes_of(std::int64_t devices, std::int64_t per_node) {
  const Value topology = parse_json(
      fmt::format(R"({{"kind": "rail_fat_tree", "levels": 2, "devices_per_node": {}, "nodes_per_pod": 32,
                       "nvlink_rate": "100 GB/s", "nvlink_latency": "2 us", "nic_rate": "50 GB/s",
                       "nic_latency": "5 us", "switch_latency": "1 us"}})",
                  per_node),
      "topology");
  Reader reader(topology, "topology");
  return {make_member(reader, topologies(), "topology"), static_cast<std::uint32_t>(devices)};
}

std::unique_ptr<const Collective> algorithm(const std::string& keys) {
  const Value value = parse_json(keys, "collective");
  Reader reader(value, "collective");
  return make_member(reader, collectives(), "collective");
}

std::vector<DeviceId> first_devices(std::uint32_t count) {
  std::vector<DeviceId> group(count);
  std::iota(group.begin(), group.end(), 0U);
  return group;
}

struct Sums {
  std::map<DeviceId, double> sent, received;
  double between_nodes = 0, total = 0;
};

Sums sums_of(const Traffic& traffic, const Fabric& fabric) {
  Sums sums;
  for (const Flow& flow : all_flows(traffic)) {
    sums.sent[flow.from] += flow.bytes;
    sums.received[flow.to] += flow.bytes;
    sums.total += flow.bytes;
    if (fabric.node_of(flow.from) != fabric.node_of(flow.to)) sums.between_nodes += flow.bytes;
  }
  return sums;
}

std::string refusal(const std::string& kind, Operation operation) {
  const Fabric fabric = nodes_of(4, 2);
  const std::vector<DeviceId> group = first_devices(4);
  try {
    static_cast<void>(algorithm(fmt::format(R"({{"kind": "{}"}})", kind))
                          ->plan({.operation = operation, .group = group, .bytes = Bytes{1}}, fabric));
  } catch (const InputError& error) {
    return error.what();
  }
  return "no error";
}

Request all_to_all(const std::vector<DeviceId>& group) {
  return {.operation = Operation::all_to_all,
          .group = group,
          .bytes = Bytes{1000},
          .rows_per_rank = 12,
          .reached_rows_per_rank = 9,
          .reached_rows_per_node = 16};
}

}  // namespace

TEST_CASE("A ring all-reduce sends 2 (n-1)/n of the buffer from every rank, whatever the nodes") {
  for (const auto& [devices, per_node] : {std::pair{2U, 2}, {4U, 4}, {8U, 4}, {12U, 4}, {16U, 8}, {6U, 1}}) {
    const Fabric fabric = nodes_of(devices, per_node);
    const std::vector<DeviceId> group = first_devices(devices);
    const Bytes buffer{48'000'000};
    const Sums sums =
        sums_of(algorithm(R"({"kind": "ring"})")
                    ->plan({.operation = Operation::all_reduce, .group = group, .bytes = buffer}, fabric),
                fabric);
    const double n = devices;
    for (const DeviceId rank : group) {
      INFO(devices << " devices, " << per_node << " a node, rank " << rank);
      CHECK(sums.sent.at(rank) == Approx(2 * (n - 1) / n * 48e6).epsilon(1e-12));
      CHECK(sums.received.at(rank) == Approx(sums.sent.at(rank)).epsilon(1e-12));
    }
    // Each ring enters each node once.
    const double nodes = n / per_node;
    const double crossing = nodes > 1 ? nodes * 2 * (n - 1) / n * 48e6 : 0;
    CHECK(sums.between_nodes == Approx(crossing).margin(1e-3));
  }
}

TEST_CASE("A reduce-scatter or all-gather is half of an all-reduce") {
  const Fabric fabric = nodes_of(8, 4);
  const std::vector<DeviceId> group = first_devices(8);
  const auto ring = algorithm(R"({"kind": "ring"})");
  const auto plan = [&](Operation operation) {
    return ring->plan({.operation = operation, .group = group, .bytes = Bytes{8000}}, fabric);
  };
  const Traffic whole = plan(Operation::all_reduce);
  for (const Operation operation : {Operation::reduce_scatter, Operation::all_gather}) {
    const Traffic half = plan(operation);
    CHECK(sums_of(half, fabric).total == Approx(sums_of(whole, fabric).total / 2));
    CHECK(half.messages * 2 == whole.messages);
    CHECK(half.latency * 2 == whole.latency);
    for (const DeviceId rank : group) CHECK(sums_of(half, fabric).sent.at(rank) == Approx(7000));
  }
}

TEST_CASE("A tree all-reduce moves the buffer once up and once down each edge of its trees") {
  for (const auto& [devices, per_node] : {std::pair{4U, 4}, {8U, 4}, {12U, 4}, {32U, 4}, {20U, 4}}) {
    INFO(devices << " devices, " << per_node << " a node");
    const Fabric fabric = nodes_of(devices, per_node);
    const std::vector<DeviceId> group = first_devices(devices);
    const Sums sums = sums_of(
        algorithm(R"({"kind": "tree"})")
            ->plan({.operation = Operation::all_reduce, .group = group, .bytes = Bytes{4000}}, fabric),
        fabric);
    const double nodes = static_cast<double>(devices) / per_node;
    CHECK(sums.between_nodes == Approx(2 * (nodes - 1) * 4000));
    CHECK(sums.total == Approx(2 * (static_cast<double>(devices) - 1) * 4000));
    for (const DeviceId rank : group) CHECK(sums.sent.at(rank) == Approx(sums.received.at(rank)));
  }
}

TEST_CASE("The latency of a tree grows with the logarithm of the nodes, that of a ring with their number") {
  const auto latency = [](const std::string& kind, std::uint32_t nodes) {
    const Fabric fabric = nodes_of(nodes, 1);
    const std::vector<DeviceId> group = first_devices(nodes);
    return to_seconds(
        algorithm(fmt::format(R"({{"kind": "{}"}})", kind))
            ->plan({.operation = Operation::all_reduce, .group = group, .bytes = Bytes{8}}, fabric)
            .latency);
  };
  CHECK(latency("tree", 16) == Approx(latency("tree", 4) * 2));
  CHECK(latency("ring", 16) == Approx(latency("ring", 4) * 5));  // 2 x 15 hops against 2 x 3
}

TEST_CASE("A pairwise all-to-all sends the same rows between every two ranks and none to itself") {
  const Fabric fabric = nodes_of(6, 3);
  const std::vector<DeviceId> group = first_devices(6);
  for (const bool deduplicate : {false, true}) {
    const auto pairwise = algorithm(fmt::format(R"({{"kind": "pairwise", "deduplicate": {}}})", deduplicate));
    const Traffic traffic = pairwise->plan(all_to_all(group), fabric);
    CHECK(all_flows(traffic).size() == 30);
    CHECK(traffic.messages == 30);
    for (const Flow& flow : all_flows(traffic)) {
      CHECK(flow.from != flow.to);
      CHECK(flow.bytes == (deduplicate ? 9000 : 12000));
    }
  }
}

TEST_CASE("A hierarchical all-to-all crosses to each other node once, and spreads there over NVLink") {
  const Fabric fabric = nodes_of(8, 4);
  const std::vector<DeviceId> group = first_devices(8);
  const Traffic traffic = algorithm(R"({"kind": "hierarchical"})")->plan(all_to_all(group), fabric);
  const Sums sums = sums_of(traffic, fabric);
  CHECK(sums.between_nodes == 8 * 16000.0);  // each rank to the one other node
  double inside = 0;
  for (const Flow& flow : all_flows(traffic)) {
    if (fabric.node_of(flow.from) != fabric.node_of(flow.to)) {
      CHECK(flow.from % 4 == flow.to % 4);  // on its own rail
      CHECK(flow.bytes == 16000);
    } else {
      CHECK(flow.bytes == 9000);
      inside += flow.bytes;
    }
  }
  // Each rank spreads its own rows and those of its peer on the same rail over three neighbours.
  CHECK(inside == 8 * 2 * 3 * 9000.0);
  for (const DeviceId rank : group) CHECK(sums.sent.at(rank) == sums.received.at(rank));
}

TEST_CASE("A hierarchical all-to-all has an efficiency of its own on NVLink where that is given") {
  const Fabric fabric = nodes_of(8, 4);
  const std::vector<DeviceId> group = first_devices(8);
  const auto planned = [&](const char* text) { return algorithm(text)->plan(all_to_all(group), fabric); };
  CHECK(planned(R"({"kind": "hierarchical", "efficiency": 0.9})").nvlink_efficiency == 0);
  const Traffic traffic = planned(R"({"kind": "hierarchical", "efficiency": 0.9, "nvlink_efficiency": 0.5})");
  CHECK(traffic.efficiency == 0.9);
  CHECK(traffic.nvlink_efficiency == 0.5);
}

TEST_CASE("On one node a hierarchical all-to-all is a pairwise one without duplicates") {
  const Fabric fabric = nodes_of(4, 4);
  const std::vector<DeviceId> group = first_devices(4);
  const auto pairs = [&](const std::string& keys) {
    std::map<std::pair<DeviceId, DeviceId>, double> bytes;
    for (const Flow& flow : all_flows(algorithm(keys)->plan(all_to_all(group), fabric)))
      bytes[{flow.from, flow.to}] += flow.bytes;
    return bytes;
  };
  CHECK(pairs(R"({"kind": "hierarchical"})") == pairs(R"({"kind": "pairwise", "deduplicate": true})"));
}

TEST_CASE("Every rank sends as much as it receives, whatever the group and the algorithm") {
  RandomStream random = Random(7).stream("groups");
  const Fabric fabric = nodes_of(24, 4);
  for (int i = 0; i < 60; ++i) {
    // Whole nodes in any order, so that no node of the group is part-filled.
    const auto nodes = static_cast<std::uint32_t>(1 + random.below(6));
    const auto first = static_cast<std::uint32_t>(random.below(7 - nodes));
    std::vector<DeviceId> group;
    for (std::uint32_t d = first * 4; d < (first + nodes) * 4; ++d) group.push_back(d);
    for (std::size_t k = group.size(); k > 1; --k) std::swap(group[k - 1], group[random.below(k)]);
    const std::vector<std::pair<std::string, Operation>> cases{
        {"pairwise", Operation::all_to_all},      {"hierarchical", Operation::all_to_all},
        {"ring", Operation::all_reduce},          {"ring", Operation::reduce_scatter},
        {"ring", Operation::all_gather},          {"tree", Operation::all_reduce},
        {"dimension_ring", Operation::all_reduce}};
    for (const auto& [kind, operation] : cases) {
      Request request = all_to_all(group);
      request.operation = operation;
      const Sums sums =
          sums_of(algorithm(fmt::format(R"({{"kind": "{}"}})", kind))->plan(request, fabric), fabric);
      for (const auto& [rank, sent] : sums.sent) {
        INFO(kind << ", " << group.size() << " ranks, rank " << rank);
        CHECK(sent == Approx(sums.received.at(rank)).epsilon(1e-12));
      }
      CHECK(sums.sent.size() == sums.received.size());
    }
  }
}

TEST_CASE("Startup comes once on top of the latency, efficiency is handed on") {
  const Fabric fabric = nodes_of(8, 4);
  const std::vector<DeviceId> group = first_devices(8);
  for (const std::string kind : {"pairwise", "hierarchical"}) {
    const Traffic plain =
        algorithm(fmt::format(R"({{"kind": "{}"}})", kind))->plan(all_to_all(group), fabric);
    const Traffic slow =
        algorithm(fmt::format(R"({{"kind": "{}", "startup": "7 us", "efficiency": 0.5}})", kind))
            ->plan(all_to_all(group), fabric);
    CHECK((slow.latency - plain.latency).count == 7'000'000);
    CHECK(slow.efficiency == 0.5);
    CHECK(plain.efficiency == 1);
    CHECK(plain.latency == fabric.latency(0, 7));
  }
}

TEST_CASE("An algorithm refuses what it does not do, and says what it does") {
  CHECK(refusal("ring", Operation::all_to_all) ==
        "collectives: 'ring' does no all_to_all (it does all_reduce, reduce_scatter and all_gather)");
  CHECK(refusal("tree", Operation::reduce_scatter) ==
        "collectives: 'tree' does no reduce_scatter (it does all_reduce)");
  CHECK(refusal("pairwise", Operation::all_reduce) ==
        "collectives: 'pairwise' does no all_reduce (it does all_to_all, point_to_point, reduce "
        "and broadcast)");
  CHECK(refusal("hierarchical", Operation::point_to_point) ==
        "collectives: 'hierarchical' does no point_to_point (it does all_to_all)");
  CHECK(
      refusal("dimension_ring", Operation::all_to_all) ==
      "collectives: 'dimension_ring' does no all_to_all (it does all_reduce, reduce_scatter and all_gather)");
  CHECK(refusal("ring", Operation::all_reduce) == "no error");
}

TEST_CASE("With a matrix of rows each pair sends its own, and never more than the source has tokens") {
  const Fabric fabric = nodes_of(4, 2);
  const std::vector<DeviceId> group = first_devices(4);
  const std::vector<std::int64_t> rows{5, 10, 20, 60,  //
                                       1, 2,  3,  4,   //
                                       0, 0,  0,  0,   //
                                       9, 9,  9,  9};
  // Evenly 8 rows to each rank, of which 6 where those for one rank go once, and 10 to each node.
  const Request request{.operation = Operation::all_to_all,
                        .group = group,
                        .bytes = Bytes{100},
                        .rows_per_rank = 8,
                        .reached_rows_per_rank = 6,
                        .reached_rows_per_node = 10,
                        .rows = rows,
                        .tokens = 40};
  const auto bytes = [](const Traffic& traffic) {
    std::map<std::pair<DeviceId, DeviceId>, double> sums;
    for (const Flow& flow : traffic.flows) sums[{flow.from, flow.to}] += flow.bytes;
    return sums;
  };
  auto sent = bytes(algorithm(R"({"kind": "pairwise"})")->plan(request, fabric));
  CHECK(sent[{0, 3}] == 6000);
  CHECK(sent[{1, 2}] == 300);
  CHECK(sent[{3, 0}] == 900);
  CHECK(sent.count({0, 0}) == 0);
  sent = bytes(algorithm(R"({"kind": "pairwise", "deduplicate": true})")->plan(request, fabric));
  CHECK(sent[{0, 1}] == 750);
  CHECK(sent[{0, 3}] == 4000);  // 45 rows, but 40 tokens
  sent = bytes(algorithm(R"({"kind": "hierarchical"})")->plan(request, fabric));
  CHECK(sent[{0, 2}] == Approx(4000));              // 80 rows to the node, 50 once, 40 tokens
  CHECK(sent[{1, 3}] == Approx(700 * 10.0 / 16));   // 7 rows to the node
  CHECK(sent[{3, 1}] == Approx(1800 * 10.0 / 16));  // 18
  CHECK(sent[{2, 3}] == Approx(4000));              // passed on for rank 0; rank 2 has nothing of its own
  CHECK(sent[{3, 2}] == Approx(300 * 0.75 + 900 * 0.75));  // for rank 1, and its own
}

TEST_CASE("An even matrix is the even exchange") {
  const Fabric fabric = nodes_of(8, 4);
  const std::vector<DeviceId> group = first_devices(8);
  const std::vector<std::int64_t> rows(64, 12);
  Request request{.operation = Operation::all_to_all,
                  .group = group,
                  .bytes = Bytes{64},
                  .rows_per_rank = 12,
                  .reached_rows_per_rank = 9,
                  .reached_rows_per_node = 20};
  for (const char* keys : {R"({"kind": "pairwise"})", R"({"kind": "pairwise", "deduplicate": true})",
                           R"({"kind": "hierarchical"})"}) {
    CAPTURE(keys);
    request.rows = {};
    const Traffic even = algorithm(keys)->plan(request, fabric);
    const std::vector<Flow> flows = all_flows(even);
    request.rows = rows;
    request.tokens = 100;
    const Traffic matrix = algorithm(keys)->plan(request, fabric);
    REQUIRE(flows.size() == matrix.flows.size());
    CHECK(even.latency == matrix.latency);
    for (std::size_t i = 0; i < flows.size(); ++i) {
      CHECK(flows[i].from == matrix.flows[i].from);
      CHECK(flows[i].to == matrix.flows[i].to);
      CHECK(flows[i].bytes == Approx(matrix.flows[i].bytes).epsilon(1e-12));
    }
  }
}

TEST_CASE("What is no exchange of tokens has none to send once") {
  const Fabric fabric = nodes_of(8, 4);
  const std::vector<DeviceId> group{0, 1};
  const auto once = algorithm(R"({"kind": "pairwise", "deduplicate": true})");
  for (const Operation operation : {Operation::point_to_point, Operation::reduce, Operation::broadcast}) {
    CHECK_THROWS_WITH(once->plan({.operation = operation, .group = group, .bytes = Bytes{1}}, fabric),
                      Catch::Contains("'deduplicate' is of tokens with several experts"));
  }
}

TEST_CASE("A reduce brings every buffer to the first of the group, a broadcast takes one to each other") {
  const Fabric fabric = nodes_of(8, 4);
  const std::vector<DeviceId> group{2, 0, 5, 7};
  const std::unique_ptr<const Collective> pairwise = algorithm(R"({"kind": "pairwise"})");
  const Sums reduced = sums_of(
      pairwise->plan({.operation = Operation::reduce, .group = group, .bytes = Bytes{1000}}, fabric), fabric);
  CHECK(reduced.received.size() == 1);
  CHECK(reduced.received.at(2) == 3000);
  CHECK(reduced.sent.at(7) == 1000);
  CHECK(reduced.between_nodes == 2000);
  const Sums sent = sums_of(
      pairwise->plan({.operation = Operation::broadcast, .group = group, .bytes = Bytes{1000}}, fabric),
      fabric);
  CHECK(sent.sent.size() == 1);
  CHECK(sent.sent.at(2) == 3000);
  CHECK(sent.received.at(0) == 1000);
}
