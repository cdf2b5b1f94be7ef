// Experts that are chosen together, against tokens drawn one by one.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <numeric>

#include "models/base/at.hpp"
#include "models/base/error.hpp"
#include "models/routing/reach.hpp"
#include "models/routing/router.hpp"

using namespace moesim;

namespace {

constexpr Gate gate{.experts = 64, .top_k = 6};

Coactivation topics(double factor, TopicOrder order = TopicOrder::together) {
  return {.topics = 8, .factor = factor, .order = order};
}

/// Of any blocks, from rows that are even.
double reach_of_ranks(const Coactivation& coactivation, std::int64_t ranks) {
  const ExpertPlacement placement = place_in_order(gate.experts, ranks);
  const RankRows rows{.ranks = ranks,
                      .slots_per_rank = placement.slots_per_rank(),
                      .slot_rows = std::vector<std::int64_t>(64, 600),
                      .sent = {}};
  const RankReach reach(rows, gate.top_k, 6400, topics_of(coactivation, placement, gate.experts));
  double sum = 0;
  for (std::size_t rank = 0; rank < static_cast<std::size_t>(ranks); ++rank) sum += reach.of({&rank, 1});
  return sum;
}

Router router_of(const std::string& json) {
  const Value value = parse_json(json, "routing");
  Reader reader(value, "routing");
  return read_router(reader);
}

}  // namespace

TEST_CASE("With a factor of 1 a token reaches as many blocks as if it chose freely") {
  for (const TopicOrder order : {TopicOrder::together, TopicOrder::interleaved}) {
    for (const std::int64_t blocks : {1, 4, 8, 64})
      CHECK(coactive_reach(gate, topics(1, order), blocks) ==
            Approx(even_reach(gate.experts, gate.top_k, blocks)).epsilon(1e-12));
  }
}

TEST_CASE(
    "Topics on one block lower reach, topics spread over blocks raise it, the more the higher the factor") {
  double together = even_reach(gate.experts, gate.top_k, 8), interleaved = together;
  for (const double factor : {2.0, 5.0, 50.0, 1000.0}) {
    const double lower = coactive_reach(gate, topics(factor), 8);
    const double higher = coactive_reach(gate, topics(factor, TopicOrder::interleaved), 8);
    CHECK(lower < together);
    CHECK(higher > interleaved);
    together = lower, interleaved = higher;
  }
  CHECK(together == Approx(1).margin(0.15));  // all six experts of one topic
  CHECK(interleaved == Approx(6).margin(0.1));
  CHECK(coactive_reach(gate, topics(1000), 1) == Approx(1));
}

TEST_CASE("Even loads reach ranks by topics as the closed form says") {
  for (const double factor : {3.0, 40.0}) {
    for (const TopicOrder order : {TopicOrder::together, TopicOrder::interleaved}) {
      for (const std::int64_t ranks : {4, 8, 16, 64}) {
        INFO("factor " << factor << ", " << ranks << " ranks");
        CHECK(reach_of_ranks(topics(factor, order), ranks) ==
              Approx(coactive_reach(gate, topics(factor, order), ranks)).epsilon(1e-9));
      }
    }
  }
}

TEST_CASE("Hot experts of topics are reached as often as tokens that are drawn one by one reach them") {
  constexpr int tokens = 40'000;
  RandomStream random = Random(8).stream("tokens");
  for (const double factor : {3.0, 20.0}) {
    const Coactivation coactivation{.topics = 4, .factor = factor, .order = TopicOrder::interleaved};
    std::vector<double> popularity(32);
    for (std::size_t e = 0; e < 32; ++e)
      popularity[(e * 5) % 32] = std::pow(static_cast<double>(e + 1), -0.7);
    RankRows rows{.ranks = 8, .slots_per_rank = 4, .slot_rows = std::vector<std::int64_t>(32, 0), .sent = {}};
    std::vector<double> reached(8);
    std::vector<double> of_topics(4);
    for (std::size_t e = 0; e < 32; ++e) of_topics[e % 4] += popularity[e];
    const double all = std::accumulate(of_topics.begin(), of_topics.end(), 0.0);
    for (int token = 0; token < tokens; ++token) {
      double left = random.uniform() * all;
      std::size_t topic = 0;
      while (topic < 3 && left >= of_topics[topic]) left -= of_topics[topic++];
      std::vector<std::pair<double, std::size_t>> arrivals;
      for (std::size_t e = 0; e < 32; ++e) {
        const double weight = popularity[e] * (e % 4 == topic ? factor : 1);
        arrivals.emplace_back(-std::log(1 - random.uniform()) / weight, e);
      }
      std::partial_sort(arrivals.begin(), arrivals.begin() + 4, arrivals.end());
      std::vector<double> here(8);
      for (std::size_t i = 0; i < 4; ++i) {
        ++rows.slot_rows[arrivals[i].second];
        here[arrivals[i].second / 4] = 1;
      }
      for (std::size_t rank = 0; rank < 8; ++rank) reached[rank] += here[rank] / tokens;
    }
    const RankReach reach(rows, 4, tokens, topics_of(coactivation, place_in_order(32, 8), 32));
    const RankReach free(rows, 4, tokens);
    double off = 0, off_if_free = 0;
    for (std::size_t rank = 0; rank < 8; ++rank) {
      INFO("factor " << factor << ", rank " << rank);
      CHECK(reach.of({&rank, 1}) == Approx(reached[rank]).margin(0.02));
      off += std::abs(reach.of({&rank, 1}) - reached[rank]);
      off_if_free += std::abs(free.of({&rank, 1}) - reached[rank]);
    }
    CHECK(off < off_if_free);
  }
}

TEST_CASE("A router's reach is that of its coactivation, and policies that limit choices have none") {
  const Router router = router_of(R"({"kind": "top_k", "coactivation": {"topics": 8, "factor": 10}})");
  CHECK(router.reach(gate, 8) == coactive_reach(gate, topics(10), 8));
  CHECK_THROWS_WITH(router_of(R"({"kind": "group_limited", "coactivation": {"topics": 8, "factor": 10}})"),
                    Catch::Contains("does not let a token choose freely"));
  CHECK_THROWS_WITH(router.check({.experts = 60, .top_k = 6}),
                    Catch::Contains("do not divide into 8 topics"));
  CHECK_THROWS_WITH(router.check({.experts = 64, .top_k = 1}), Catch::Contains("top_k 1"));
}
