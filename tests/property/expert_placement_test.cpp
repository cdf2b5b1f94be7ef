// Laws of expert placement over random loads, and the example that its source publishes.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <numeric>
#include <set>

#include "models/base/random.hpp"
#include "models/routing/expert_placement.hpp"
#include "tests/support/eplb.hpp"

using namespace moesim;

namespace {

double busiest(const std::vector<double>& load, const ExpertPlacement& placement) {
  const std::vector<double> ranks = rank_loads(load, placement);
  return *std::max_element(ranks.begin(), ranks.end());
}

struct Case {
  std::vector<double> load;
  BalanceTask task;
};

/// A task whose slots divide by ranks, and its experts often not; groups divide by nodes, or all is one node.
Case random_uneven_case(RandomStream& random) {
  Case made;
  const auto below = [&](int bound) {
    return static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(bound)));
  };
  made.task.nodes = 1 + below(4);
  made.task.ranks = made.task.nodes * (1 + below(8));
  made.task.groups = below(2) == 0 ? made.task.nodes * (1 + below(2)) : 1;
  const std::int64_t experts = made.task.groups * (1 + below(24));
  const std::int64_t slots = (experts + made.task.ranks - 1) / made.task.ranks + below(3);
  made.task.redundant = slots * made.task.ranks - experts;
  const double steepness = 2 * random.uniform();
  for (std::int64_t e = 0; e < experts; ++e)
    made.load.push_back(std::floor(100 * std::pow(1 - random.uniform(), -steepness)));
  return made;
}

/// A task whose experts divide by ranks, and often, but not always, whose groups divide by nodes.
Case random_case(RandomStream& random, std::int64_t most_redundant) {
  Case made;
  const auto below = [&](int bound) {
    return static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(bound)));
  };
  made.task.nodes = 1 + below(4);
  made.task.ranks = made.task.nodes * (1 + below(6));
  const std::int64_t experts = made.task.ranks * (1 + below(5));
  made.task.groups = below(2) == 0 ? made.task.nodes : 1 + below(3);
  made.task.redundant = made.task.ranks * below(static_cast<int>(most_redundant) + 1);
  const double steepness = 3 * random.uniform();
  for (std::int64_t e = 0; e < experts; ++e) {
    made.load.push_back(std::pow(1 - random.uniform(), -steepness));
  }
  made.task.load = made.load;
  return made;
}

}  // namespace

TEST_CASE(
    "Every expert has a slot, every rank as many, and copies are on different ranks where they can be") {
  RandomStream random = Random(21).stream("placement");
  for (int round = 0; round < 500; ++round) {
    Case at = random_case(random, 4);
    at.task.load = at.load;
    const auto experts = static_cast<std::int64_t>(at.load.size());
    const ExpertPlacement placement = place_balanced(at.task);
    INFO(round << ": " << experts << " experts, " << at.task.ranks << " ranks, " << at.task.nodes
               << " nodes, " << at.task.groups << " groups, " << at.task.redundant << " redundant");
    REQUIRE(static_cast<std::int64_t>(placement.expert_of_slot.size()) == experts + at.task.redundant);
    REQUIRE(placement.slots_per_rank() * at.task.ranks == experts + at.task.redundant);
    const bool hierarchical = at.task.groups % at.task.nodes == 0 && experts % at.task.groups == 0;
    const std::int64_t ranks_of_node = hierarchical ? at.task.ranks / at.task.nodes : at.task.ranks;
    for (std::int64_t e = 0; e < experts; ++e) {
      std::set<std::int64_t> ranks;
      std::set<std::int64_t> nodes;
      for (std::size_t slot = 0; slot < placement.expert_of_slot.size(); ++slot) {
        if (placement.expert_of_slot[slot] != e) continue;
        ranks.insert(static_cast<std::int64_t>(slot) / placement.slots_per_rank());
        nodes.insert(*ranks.rbegin() / ranks_of_node);
      }
      REQUIRE(!ranks.empty());
      REQUIRE(static_cast<std::int64_t>(ranks.size()) == std::min(placement.copies_of(e), ranks_of_node));
      REQUIRE(nodes.size() == 1);
    }
  }
}

TEST_CASE("Without redundant slots balanced placement is never busier than experts in order") {
  RandomStream random = Random(22).stream("placement");
  int better = 0;
  for (int round = 0; round < 500; ++round) {
    Case at = random_case(random, 0);
    at.task.load = at.load;
    const double in_order =
        busiest(at.load, place_in_order(static_cast<std::int64_t>(at.load.size()), at.task.ranks));
    const double balanced = busiest(at.load, place_balanced(at.task));
    REQUIRE(balanced <= in_order);
    better += balanced < in_order ? 1 : 0;
  }
  CHECK(better > 200);
}

// Packing heaviest first is no exact method: of 3,000 random loads 4 end up to 3 % busier than in order.
TEST_CASE(
    "With redundant slots balanced placement is hardly ever busier than experts in order, and then little") {
  RandomStream random = Random(23).stream("placement");
  int busier = 0;
  for (int round = 0; round < 1000; ++round) {
    Case at = random_case(random, 3);
    at.task.load = at.load;
    const double in_order =
        busiest(at.load, place_in_order(static_cast<std::int64_t>(at.load.size()), at.task.ranks));
    const double balanced = busiest(at.load, place_balanced(at.task));
    REQUIRE(balanced <= in_order * 1.05);
    busier += balanced > in_order * (1 + 1e-12) ? 1 : 0;
  }
  CHECK(busier <= 3);
}

TEST_CASE("The load of ranks is that of experts, whatever the copies") {
  RandomStream random = Random(24).stream("placement");
  for (int round = 0; round < 100; ++round) {
    Case at = random_case(random, 3);
    at.task.load = at.load;
    const std::vector<double> ranks = rank_loads(at.load, place_balanced(at.task));
    CHECK(std::accumulate(ranks.begin(), ranks.end(), 0.0) ==
          Approx(std::accumulate(at.load.begin(), at.load.end(), 0.0)));
  }
}

// The example of github.com/deepseek-ai/EPLB: 12 experts in 4 groups, 16 slots, 8 GPUs on 2 nodes. It
// answers, two slots a GPU: 5 6, 5 7, 8 4, 3 4, 10 9, 10 2, 0 1, 11 1 for the first layer and 7 10, 6 8, 6
// 11, 8 9, 2 4, 5 1, 5 0, 3 1 for the second.
TEST_CASE("Experts, copies and pairs on a GPU are those of EPLB's published example") {
  struct Layer {
    std::vector<double> load;
    std::vector<std::int32_t> slots;
  };
  const Layer layers[] = {{{90, 132, 40, 61, 104, 165, 39, 4, 73, 56, 183, 86},
                           {5, 6, 5, 7, 8, 4, 3, 4, 10, 9, 10, 2, 0, 1, 11, 1}},
                          {{20, 107, 104, 64, 19, 197, 187, 157, 172, 86, 16, 27},
                           {7, 10, 6, 8, 6, 11, 8, 9, 2, 4, 5, 1, 5, 0, 3, 1}}};
  const auto pairs = [](const std::vector<std::int32_t>& slots) {
    std::multiset<std::pair<std::int32_t, std::int32_t>> found;
    for (std::size_t i = 0; i < slots.size(); i += 2) found.insert(std::minmax(slots[i], slots[i + 1]));
    return found;
  };
  for (const Layer& layer : layers) {
    const ExpertPlacement placement =
        place_balanced({.load = layer.load, .ranks = 8, .nodes = 2, .groups = 4, .redundant = 4});
    CHECK(pairs(placement.expert_of_slot) == pairs(layer.slots));
    CHECK(busiest(layer.load, placement) ==
          Approx(busiest(layer.load, {.ranks = 8, .expert_of_slot = layer.slots})));
  }
}

TEST_CASE(
    "Placement is never more than 1 % busier than EPLB's, but where EPLB puts copies on their own rank") {
  RandomStream random = Random(25).stream("placement");
  int compared = 0;
  for (int round = 0; round < 3000; ++round) {
    Case at = random_uneven_case(random);
    at.task.load = at.load;
    const auto experts = static_cast<std::int64_t>(at.load.size());
    const EplbResult theirs = eplb({.load = at.load,
                                    .slots = experts + at.task.redundant,
                                    .groups = at.task.groups,
                                    .nodes = at.task.nodes,
                                    .ranks = at.task.ranks});
    if (theirs.is_doubled) continue;
    ++compared;
    INFO(round << ": " << experts << " experts, " << at.task.redundant << " copies, " << at.task.ranks
               << " ranks, " << at.task.nodes << " nodes, " << at.task.groups << " groups");
    REQUIRE(busiest(at.load, place_balanced(at.task)) <= 1.01 * theirs.busiest);
  }
  CHECK(compared > 500);
}

TEST_CASE("The reference of EPLB answers its published example") {
  const std::vector<double> load{90, 132, 40, 61, 104, 165, 39, 4, 73, 56, 183, 86};
  const EplbResult result = eplb({.load = load, .slots = 16, .groups = 4, .nodes = 2, .ranks = 8});
  CHECK(result.busiest == Approx(90 + 132 / 2));  // expert 0 beside a copy of 1
  CHECK_FALSE(result.is_doubled);
}

TEST_CASE("Groups that do not divide by nodes are placed over all ranks at once") {
  const std::vector<double> load = {100, 1, 1, 1, 1, 1};
  const ExpertPlacement placement =
      place_balanced({.load = load, .ranks = 6, .nodes = 2, .groups = 3, .redundant = 6});
  CHECK(placement.copies_of(0) == 6);
  for (std::int64_t e = 1; e < 6; ++e) CHECK(placement.copies_of(e) >= 1);
}

TEST_CASE("Experts in order are equal blocks") {
  const ExpertPlacement placement = place_in_order(6, 3);
  CHECK(placement.expert_of_slot == std::vector<std::int32_t>{0, 1, 2, 3, 4, 5});
  CHECK(placement.slots_per_rank() == 2);
}

TEST_CASE("What does not divide over copies goes round with the source") {
  const Loads loads{.sources = 3, .experts = 1, .rows = {5, 5, 4}};
  const ExpertPlacement placement{.ranks = 2, .expert_of_slot = {0, 0}};
  const RankRows rows = rank_rows(loads, placement);
  CHECK(rows.sent == std::vector<std::int64_t>{3, 2, 2, 3, 2, 2});
  CHECK(rows.slot_rows == std::vector<std::int64_t>{7, 7});
}
