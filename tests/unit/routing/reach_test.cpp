// Where tokens go when experts are not equally popular, against tokens drawn one by one.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <numeric>

#include "models/base/at.hpp"
#include "models/base/random.hpp"
#include "models/routing/reach.hpp"
#include "models/routing/routing.hpp"

using namespace moesim;

namespace {

/// Rows of so many tokens that choose `top_k` experts one after the other by their popularity, and how many
/// tokens reached each rank, or a node of two.
struct Drawn {
  RankRows rows;
  std::vector<double> ranks, nodes;
};

Drawn draw(std::span<const double> popularity, int ranks, int top_k, int tokens) {
  RandomStream random = Random(5).stream("tokens");
  const auto experts = static_cast<std::int64_t>(popularity.size());
  Drawn drawn{.rows = {.ranks = ranks, .slots_per_rank = experts / ranks, .slot_rows = {}, .sent = {}},
              .ranks = std::vector<double>(static_cast<std::size_t>(ranks)),
              .nodes = std::vector<double>(static_cast<std::size_t>(ranks / 2))};
  drawn.rows.slot_rows.assign(popularity.size(), 0);
  std::vector<std::pair<double, std::int64_t>> arrivals(popularity.size());
  for (int token = 0; token < tokens; ++token) {
    // The first k arrivals of Poisson processes are k draws without putting back.
    for (std::size_t e = 0; e < popularity.size(); ++e)
      arrivals[e] = {-std::log(1 - random.uniform()) / popularity[e], static_cast<std::int64_t>(e)};
    std::partial_sort(arrivals.begin(), arrivals.begin() + top_k, arrivals.end());
    std::vector<int> reached(drawn.ranks.size()), reached_nodes(drawn.nodes.size());
    for (int choice = 0; choice < top_k; ++choice) {
      const std::int64_t expert = arrivals[static_cast<std::size_t>(choice)].second;
      ++at(drawn.rows.slot_rows, expert);
      const std::int64_t rank = expert * ranks / experts;
      at(reached, rank) = at(reached_nodes, rank / 2) = 1;
    }
    for (std::size_t r = 0; r < reached.size(); ++r) drawn.ranks[r] += reached[r];
    for (std::size_t n = 0; n < reached_nodes.size(); ++n) drawn.nodes[n] += reached_nodes[n];
  }
  return drawn;
}

RankRows rows_of(std::vector<std::int64_t> slots, std::int64_t ranks) {
  const auto per_rank = static_cast<std::int64_t>(slots.size()) / ranks;
  return {.ranks = ranks, .slots_per_rank = per_rank, .slot_rows = std::move(slots), .sent = {}};
}

}  // namespace

TEST_CASE("Even loads reach as many ranks as any k experts that are equally likely") {
  for (const auto& [experts, ranks, top_k] : {std::tuple{256, 64, 8}, {64, 8, 6}, {8, 8, 2}, {16, 2, 4}}) {
    const RankReach reach(
        rows_of(std::vector<std::int64_t>(static_cast<std::size_t>(experts), 100 * top_k), ranks), top_k,
        100.0 * experts);
    double sum = 0;
    for (std::size_t rank = 0; rank < static_cast<std::size_t>(ranks); ++rank) sum += reach.of({&rank, 1});
    INFO(experts << " experts on " << ranks << " ranks, top " << top_k);
    CHECK(sum == Approx(even_reach(experts, top_k, ranks)).epsilon(1e-9));
  }
}

TEST_CASE("With one expert on a rank, or one choice, a token reaches a rank as often as it has rows there") {
  const RankReach alone(rows_of({400, 100, 250, 50}, 4), 2, 400);
  CHECK(alone.of(std::vector<std::size_t>{0}) == Approx(1).epsilon(2e-3));
  CHECK(alone.of(std::vector<std::size_t>{1}) == Approx(0.25).epsilon(2e-3));
  CHECK(alone.of(std::vector<std::size_t>{3}) == Approx(0.125).epsilon(2e-3));
  const RankReach single(rows_of({400, 100, 250, 50}, 2), 1, 800);
  CHECK(single.of(std::vector<std::size_t>{0}) == Approx(500.0 / 800).epsilon(2e-3));
}

TEST_CASE("Hot experts are reached as often as tokens that are drawn one by one reach them") {
  for (const double exponent : {0.3, 0.8, 1.5}) {
    for (const int top_k : {2, 6}) {
      std::vector<double> popularity(32);
      for (std::size_t e = 0; e < popularity.size(); ++e)
        popularity[(e * 5) % 32] = std::pow(static_cast<double>(e + 1), -exponent);
      constexpr int tokens = 20'000;
      const Drawn drawn = draw(popularity, 8, top_k, tokens);
      const RankReach reach(drawn.rows, top_k, tokens);
      for (std::size_t rank = 0; rank < 8; ++rank) {
        INFO("exponent " << exponent << ", top " << top_k << ", rank " << rank);
        CHECK(reach.of({&rank, 1}) == Approx(drawn.ranks[rank] / tokens).margin(0.015));
      }
      for (std::size_t node = 0; node < 4; ++node)
        CHECK(reach.of(std::vector{2 * node, 2 * node + 1}) ==
              Approx(drawn.nodes[node] / tokens).margin(0.02));
    }
  }
}

TEST_CASE("Ranks that are not neighbours are reached as those that are, where they have the same experts") {
  const RankReach one(rows_of({90, 10, 40, 60, 70, 30, 20, 80}, 4), 2, 200);
  const RankReach other(rows_of({90, 10, 70, 30, 40, 60, 20, 80}, 4), 2, 200);
  CHECK(one.of(std::vector<std::size_t>{0, 2}) ==
        Approx(other.of(std::vector<std::size_t>{0, 1})).epsilon(2e-3));
}

TEST_CASE("What is dropped reaches nothing, and a rank is reached no more often than it has rows") {
  const RankReach whole(rows_of({100, 100, 100, 100}, 2), 2, 200);
  const RankReach half(rows_of({50, 50, 50, 50}, 2), 2, 200);
  const std::size_t first = 0;
  CHECK(half.of({&first, 1}) == Approx(whole.of({&first, 1}) / 2));
  const RankReach nothing(rows_of({0, 0, 0, 0}, 2), 2, 200);
  CHECK(nothing.of({&first, 1}) == 0);
}

TEST_CASE("Experts that choose tokens are reached independently of each other") {
  const Value value = parse_json(R"({"kind": "expert_choice"})", "routing");
  Reader reader(value, "routing");
  const auto choice = make_member(reader, routings(), "routing");
  const Gate gate{.experts = 64, .top_k = 2};
  CHECK(choice->reach(gate, 64, Random(1)) == Approx(2));
  CHECK(choice->reach(gate, 1, Random(1)) == Approx(1 - std::pow(1 - 2.0 / 64, 64)));
  CHECK(choice->reach(gate, 8, Random(1)) < even_reach(64, 2, 8));
}
