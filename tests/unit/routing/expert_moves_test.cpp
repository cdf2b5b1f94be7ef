// What moves where experts are placed anew, counted by hand and over random placements.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <set>

#include "models/base/at.hpp"
#include "models/base/random.hpp"
#include "models/routing/expert_moves.hpp"

using namespace moesim;

namespace {

ExpertPlacement placement(std::int64_t ranks, std::vector<std::int32_t> slots) {
  return {.ranks = ranks, .expert_of_slot = std::move(slots)};
}

std::set<std::int32_t> held(const ExpertPlacement& placement, std::int64_t rank) {
  const auto first = placement.expert_of_slot.begin() + rank * placement.slots_per_rank();
  return {first, first + placement.slots_per_rank()};
}

ExpertPlacement random_placement(RandomStream& random, std::int64_t ranks, std::int64_t nodes) {
  std::vector<double> load;
  for (std::int64_t e = 0; e < 3 * ranks; ++e) load.push_back(std::pow(1 - random.uniform(), -1.0));
  return place_balanced({.load = load, .ranks = ranks, .nodes = nodes, .groups = nodes, .redundant = ranks});
}

}  // namespace

TEST_CASE("Two experts that change places are two moves, and what stays is none") {
  const ExpertPlacement before = placement(2, {0, 1, 2, 3});
  CHECK(moves_between(before, before, 1).empty());
  CHECK(moves_between(before, placement(2, {1, 0, 3, 2}), 1).empty());  // other slots of the same ranks
  const std::vector<ExpertMove> moves = moves_between(before, placement(2, {0, 3, 2, 1}), 1);
  REQUIRE(moves.size() == 2);
  CHECK((moves[0].expert == 3 && moves[0].from == 1 && moves[0].to == 0));
  CHECK((moves[1].expert == 1 && moves[1].from == 0 && moves[1].to == 1));
}

TEST_CASE("A copy comes from the rank of the same node, and from the one that has sent least") {
  // Four ranks on two nodes; expert 0 has a copy on either node.
  const ExpertPlacement before = placement(4, {0, 1, 2, 3, 0, 4, 5, 6});
  const std::vector<ExpertMove> near = moves_between(before, placement(4, {0, 1, 0, 3, 2, 4, 0, 6}), 2);
  REQUIRE(near.size() == 3);
  CHECK((near[0].expert == 0 && near[0].from == 0 && near[0].to == 1));
  CHECK((near[1].expert == 2 && near[1].from == 1 && near[1].to == 2));
  CHECK((near[2].expert == 0 && near[2].from == 2 && near[2].to == 3));
  // On one node the second receiver gets it from the other holder.
  const std::vector<ExpertMove> shared = moves_between(before, placement(4, {0, 1, 0, 3, 0, 4, 0, 6}), 1);
  REQUIRE(shared.size() == 2);
  CHECK(shared[0].from == 0);
  CHECK(shared[1].from == 2);
}

TEST_CASE("Two copies for one rank are one move") {
  CHECK(moves_between(placement(2, {0, 1, 2, 3}), placement(2, {0, 0, 1, 1}), 1).size() == 1);
}

TEST_CASE("Moves make of one placement the other") {
  RandomStream random = Random(4).stream("moves");
  for (int round = 0; round < 100; ++round) {
    const ExpertPlacement before = random_placement(random, 8, 2), after = random_placement(random, 8, 2);
    std::vector<std::set<std::int32_t>> ranks;
    for (std::int64_t rank = 0; rank < 8; ++rank) ranks.push_back(held(before, rank));
    const std::vector<std::set<std::int32_t>> sources = ranks;
    for (const ExpertMove& move : moves_between(before, after, 2)) {
      REQUIRE(at(sources, move.from).contains(move.expert));
      REQUIRE(at(ranks, move.to).insert(move.expert).second);
    }
    for (std::int64_t rank = 0; rank < 8; ++rank) {
      for (const std::int32_t expert : held(after, rank)) REQUIRE(at(ranks, rank).contains(expert));
    }
  }
}

TEST_CASE("Keeping places hands out the same contents, moves less, and nothing where only names changed") {
  RandomStream random = Random(5).stream("moves");
  std::size_t as_balanced = 0, as_kept = 0;
  for (int round = 0; round < 100; ++round) {
    const ExpertPlacement before = random_placement(random, 8, 2), after = random_placement(random, 8, 2);
    const ExpertPlacement kept = keeping_places(before, after, 2);
    std::multiset<std::set<std::int32_t>> contents, handed_out;
    for (std::int64_t rank = 0; rank < 8; ++rank)
      contents.insert(held(after, rank)), handed_out.insert(held(kept, rank));
    REQUIRE(contents == handed_out);
    as_balanced += moves_between(before, after, 2).size();
    as_kept += moves_between(before, kept, 2).size();
  }
  CHECK(static_cast<double>(as_kept) < 0.9 * static_cast<double>(as_balanced));
  const ExpertPlacement before = placement(4, {0, 1, 2, 3, 4, 5, 6, 7});
  const ExpertPlacement renamed = placement(4, {6, 7, 4, 5, 2, 3, 0, 1});
  CHECK(keeping_places(before, renamed, 2).expert_of_slot == before.expert_of_slot);
}
