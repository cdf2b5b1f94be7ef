// Remembered routes are those of the fabric, in whatever order they are asked for.
#include "sim/collective/routes.hpp"

#include <catch2/catch.hpp>
#include <vector>

#include "models/base/random.hpp"
#include "models/cluster/cluster.hpp"
#include "models/config/document.hpp"

using namespace moesim;

namespace {

struct Asked {
  DeviceId from, to;
  std::uint32_t way;
};

void check(const Fabric& fabric, Routes& routes, const Asked& asked) {
  const Route route = routes.next(asked.from, asked.to, asked.way);
  std::vector<LinkId> expected;
  fabric.route(asked.from, asked.to, expected, asked.way);
  CHECK(std::vector<LinkId>(route.links.begin(), route.links.end()) == expected);
  CHECK(route.ways == fabric.ways(asked.from, asked.to));
  if (expected.empty()) return;
  CHECK(route.leaves == (fabric.link(expected.front()).from == asked.from));
  CHECK(route.arrives == (fabric.link(expected.back()).to == asked.to));
}

}  // namespace

TEST_CASE("A route that is asked for again in the same order is the same, and so is one in another order") {
  const Value document = load_document(MOESIM_SOURCE "/configs/clusters/h100-64.json");
  Reader reader(document, "");
  const Fabric fabric = read_cluster(reader).fabric;
  Routes routes(fabric);
  RandomStream random = Random(7).stream("routes", 0, 0);
  std::vector<Asked> order;
  for (int i = 0; i < 40; ++i) {
    const auto from = static_cast<DeviceId>(random.below(64));
    const auto to = static_cast<DeviceId>(random.below(64));
    order.push_back({from, to, 0});
  }
  for (int round = 0; round < 4; ++round) {
    INFO("round " << round);
    routes.restart();
    // From the third round on another order begins in the middle, and then the first one comes again.
    if (round == 2) order[20] = {order[20].to, order[20].from, 0};
    for (const Asked& asked : order) check(fabric, routes, asked);
  }
}
