// Laws of routing over many sizes: choices are conserved, capacities hold, numbers depend on the seed only,
// more skew is never less load on the busiest.
#include <fmt/format.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <numeric>

#include "models/routing/balance.hpp"
#include "models/routing/expert_placement.hpp"
#include "tests/support/routers.hpp"

using namespace moesim;

namespace {

struct DrawnSizes {
  Gate gate;
  std::int64_t sources = 1;
  std::int64_t tokens = 1;
};

/// Sizes that a policy with top-k in [least_k, most_k] can serve.
DrawnSizes random_sizes(RandomStream& random, std::int64_t least_k, std::int64_t most_k) {
  const auto between = [&](std::int64_t low, std::int64_t high) {
    return low + static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(high - low + 1)));
  };
  DrawnSizes sizes;
  sizes.gate.experts = between(most_k, 40);
  sizes.gate.top_k = between(least_k, most_k);
  sizes.sources = between(1, 9);
  sizes.tokens = between(1, 300);
  return sizes;
}

const std::vector<std::string> skews_to_try = {
    R"({"kind": "none"})",
    R"({"kind": "zipf", "exponent": 0.7})",
    R"({"kind": "zipf", "exponent": 6})",
    R"({"kind": "dirichlet", "concentration": 0.02})",
    R"({"kind": "dirichlet", "concentration": 3, "varies": "microbatch"})",
};

struct Policy {
  std::string keys;
  std::int64_t least_k, most_k;
};

const std::vector<Policy> policies = {
    {R"("kind": "top_k")", 1, 8},
    {R"("kind": "group_limited")", 1, 8},
    {R"("kind": "switch")", 1, 1},
    {R"("kind": "switch", "padded": false, "capacity_factor": 0.5, "minimum_capacity": 1)", 1, 1},
    {R"("kind": "gshard")", 2, 2},
    {R"("kind": "gshard", "group": 50, "padded": false)", 2, 2},
    {R"("kind": "gshard", "second": "all", "capacity_factor": 2)", 2, 2},
};

Router router(const std::string& keys, const std::string& skew, double balance = 0, int seed = 1) {
  return router_of(
      fmt::format(R"({{{}, "skew": {}, "balance": {}, "seed": {}}})", keys, skew, balance, seed));
}

std::int64_t busiest_expert(const Loads& loads) {
  std::int64_t most = 0;
  for (std::int64_t e = 0; e < loads.experts; ++e) most = std::max(most, loads.of_expert(e));
  return most;
}

std::int64_t rows_of_source(const Loads& loads, std::int64_t source) {
  const auto first = loads.rows.begin() + static_cast<std::ptrdiff_t>(source * loads.experts);
  return std::accumulate(first, first + static_cast<std::ptrdiff_t>(loads.experts), std::int64_t{0});
}

}  // namespace

TEST_CASE("Routed, dropped and skipped choices are sources x tokens x k, whatever the policy and skew") {
  RandomStream random = Random(11).stream("sizes");
  for (const Policy& policy : policies) {
    for (const std::string& skew : skews_to_try) {
      const Router made = router(policy.keys, skew);
      for (int round = 0; round < 20; ++round) {
        const DrawnSizes at = random_sizes(random, policy.least_k, policy.most_k);
        const Loads loads = made.loads(at.gate, round, 2, 3, at.sources, at.tokens);
        INFO(policy.keys << " " << skew << " " << at.gate.experts << " experts, top " << at.gate.top_k << ", "
                         << at.sources << " x " << at.tokens);
        REQUIRE(loads.sources == at.sources);
        REQUIRE(loads.experts == at.gate.experts);
        REQUIRE(*std::min_element(loads.rows.begin(), loads.rows.end()) >= 0);
        REQUIRE(loads.total() + loads.dropped + loads.skipped == at.sources * at.tokens * at.gate.top_k);
        REQUIRE(loads.capacity == made.routing->capacity(at.gate, at.tokens));
        // No expert gets a token twice.
        REQUIRE(*std::max_element(loads.rows.begin(), loads.rows.end()) <= at.tokens);
        if (made.routing->draws()) continue;
        REQUIRE(loads.dropped + loads.skipped == 0);
        for (std::int64_t s = 0; s < at.sources; ++s) {
          REQUIRE(rows_of_source(loads, s) == at.tokens * at.gate.top_k);
        }
      }
    }
  }
}

TEST_CASE("No buffer holds more rows than its capacity, padded or not, and padding changes no row") {
  RandomStream random = Random(12).stream("sizes");
  for (const char* kind : {"switch", "gshard"}) {
    const std::int64_t k = std::string_view(kind) == "switch" ? 1 : 2;
    bool dropped = false;
    for (const std::string& skew : skews_to_try) {
      const std::string keys = fmt::format(R"("kind": "{}", "minimum_capacity": 2)", kind);
      const Router padded = router(keys, skew);
      const Router bare = router(keys + R"(, "padded": false)", skew);
      for (int round = 0; round < 20; ++round) {
        const DrawnSizes at = random_sizes(random, k, k);
        const Loads loads = padded.loads(at.gate, 0, round, 0, at.sources, at.tokens);
        REQUIRE(loads.capacity > 0);
        REQUIRE(*std::max_element(loads.rows.begin(), loads.rows.end()) <= loads.capacity);
        const Loads unpadded = bare.loads(at.gate, 0, round, 0, at.sources, at.tokens);
        REQUIRE(unpadded.capacity == 0);
        REQUIRE(unpadded.rows == loads.rows);
        REQUIRE(unpadded.dropped == loads.dropped);
        dropped = dropped || loads.dropped > 0;
      }
    }
    CHECK(dropped);
  }
}

TEST_CASE("Loads are the same in any order of calls and in used memory, and others for another seed") {
  const Gate gate{.experts = 24, .top_k = 2};
  for (const char* keys : {R"("kind": "top_k")", R"("kind": "gshard", "padded": false)"}) {
    const std::string skew = R"({"kind": "dirichlet", "varies": "microbatch"})";
    const Router one = router(keys, skew);
    const Router two = router(keys, skew);
    std::vector<Loads> forward;
    forward.reserve(12);
    for (int i = 0; i < 12; ++i) forward.push_back(one.loads(gate, i % 3, i / 3, i % 2, 4, 100));
    Loads used;
    two.fill(used, {.experts = 40, .top_k = 2}, 9, 9, 9, 11, 77);
    for (int i = 11; i >= 0; --i) {
      two.fill(used, gate, i % 3, i / 3, i % 2, 4, 100);
      REQUIRE(used.rows == forward[static_cast<std::size_t>(i)].rows);
      REQUIRE(used.dropped == forward[static_cast<std::size_t>(i)].dropped);
      REQUIRE(used.skipped == forward[static_cast<std::size_t>(i)].skipped);
    }
    CHECK(forward[0].rows != forward[1].rows);
    CHECK(router(keys, skew, 0, 2).loads(gate, 0, 0, 0, 4, 100).rows != forward[0].rows);
  }
}

TEST_CASE("Without skew, or with all of it balanced away, every source sends every expert the same rows") {
  const Gate gate{.experts = 32, .top_k = 4};
  for (const char* keys : {R"("kind": "balanced")", R"("kind": "top_k")", R"("kind": "group_limited")"}) {
    const Router plain = router(keys, R"({"kind": "none"})");
    CHECK(plain.is_even(gate, 64));
    for (const std::int64_t rows : plain.loads(gate, 3, 4, 5, 8, 64).rows) REQUIRE(rows == 64 * 4 / 32);
    if (std::string_view(keys).find("balanced") != std::string_view::npos) continue;
    const Router balanced = router(keys, R"({"kind": "zipf", "exponent": 2})", 1);
    CHECK(balanced.is_even(gate, 64));
    for (const std::int64_t rows : balanced.loads(gate, 3, 4, 5, 8, 64).rows) REQUIRE(rows == 64 * 4 / 32);
  }
}

TEST_CASE("Even rows that do not divide differ by one at most, between experts and between sources") {
  RandomStream random = Random(13).stream("sizes");
  const Router plain = router(R"("kind": "balanced")", R"({"kind": "none"})");
  for (int round = 0; round < 200; ++round) {
    const DrawnSizes at = random_sizes(random, 1, 8);
    const Loads loads = plain.loads(at.gate, 0, 0, 0, at.sources, at.tokens);
    const auto [least, most] = std::minmax_element(loads.rows.begin(), loads.rows.end());
    REQUIRE(*most - *least <= 1);
    std::vector<std::int64_t> experts;
    for (std::int64_t e = 0; e < loads.experts; ++e) experts.push_back(loads.of_expert(e));
    const auto [coldest, hottest] = std::minmax_element(experts.begin(), experts.end());
    REQUIRE(*hottest - *coldest <= 1);
  }
}

TEST_CASE("The busiest expert never gets less from a steeper Zipf or from less balance") {
  RandomStream random = Random(14).stream("sizes");
  for (int round = 0; round < 30; ++round) {
    const DrawnSizes at = random_sizes(random, 1, 8);
    std::int64_t before = 0;
    for (int step = 0; step <= 60; ++step) {
      const std::string skew = fmt::format(R"({{"kind": "zipf", "exponent": {}}})", 0.05 * step);
      const Loads loads = router(R"("kind": "top_k")", skew).loads(at.gate, 1, 0, 0, at.sources, at.tokens);
      INFO(at.gate.experts << " experts, top " << at.gate.top_k << ", " << at.sources << " x " << at.tokens);
      INFO(skew << " after " << before);
      REQUIRE(busiest_expert(loads) >= before);
      before = busiest_expert(loads);
    }
    before = 0;
    for (int step = 0; step <= 60; ++step) {
      const Router made =
          router(R"("kind": "top_k")", R"({"kind": "dirichlet", "concentration": 0.3})", 1 - step / 60.0);
      const std::int64_t busiest = busiest_expert(made.loads(at.gate, 1, 0, 0, at.sources, at.tokens));
      REQUIRE(busiest >= before);
      before = busiest;
    }
  }
}

TEST_CASE("The busiest expert has its expected rows rounded up, and all tokens at the most") {
  for (const double exponent : {0.2, 0.8, 1.3, 2.0, 5.0}) {
    const Gate gate{.experts = 64, .top_k = 6};
    const Router made =
        router(R"("kind": "top_k")", fmt::format(R"({{"kind": "zipf", "exponent": {}}})", exponent));
    const std::vector<double> shares = made.popularity(gate, 2, 0);
    const double expected = *std::max_element(shares.begin(), shares.end()) * 6 * 4 * 1000;
    CHECK(busiest_expert(made.loads(gate, 2, 0, 0, 4, 1000)) ==
          std::min<std::int64_t>(4000, static_cast<std::int64_t>(std::ceil(expected - 1e-6))));
  }
}

TEST_CASE("Load max over mean less 1 shrinks by 1 - balance, the balancing loss less 1 by its square") {
  const Gate gate{.experts = 48, .top_k = 4};
  const std::string skew = R"({"kind": "zipf", "exponent": 0.9})";
  const std::vector<double> natural = router(R"("kind": "top_k")", skew).popularity(gate, 5, 0);
  CHECK(std::accumulate(natural.begin(), natural.end(), 0.0) == Approx(1).epsilon(1e-12));
  for (const double balance : {0.0, 0.25, 0.5, 0.9}) {
    const std::vector<double> shares = router(R"("kind": "top_k")", skew, balance).popularity(gate, 5, 0);
    CHECK(max_over_mean(shares) - 1 == Approx((1 - balance) * (max_over_mean(natural) - 1)));
    CHECK(balancing_loss(shares) - 1 ==
          Approx((1 - balance) * (1 - balance) * (balancing_loss(natural) - 1)));
    CHECK(balance_between(max_over_mean(natural), max_over_mean(shares)) == Approx(balance).margin(1e-9));
  }
}

TEST_CASE("Rows are conserved when they are split over ranks and copies, for each source and each rank") {
  RandomStream random = Random(15).stream("sizes");
  for (int round = 0; round < 100; ++round) {
    const std::int64_t ranks = 1 + static_cast<std::int64_t>(random.below(8));
    const Gate gate{.experts = ranks * (1 + static_cast<std::int64_t>(random.below(4))), .top_k = 1};
    const bool padded = round % 2 == 1;
    const Router made = router(padded ? R"("kind": "switch")" : R"("kind": "top_k")", skews_to_try[2]);
    const Loads loads = made.loads(gate, round, 0, 0, ranks, 1 + round);
    const std::vector<double> shares = made.popularity(gate, round, 0);
    const ExpertPlacement placement = place_balanced(
        {.load = shares, .ranks = ranks, .redundant = ranks * static_cast<std::int64_t>(random.below(3))});
    const RankRows rows = rank_rows(loads, placement);
    const std::int64_t total = padded ? ranks * gate.experts * loads.capacity : loads.total();
    REQUIRE(std::accumulate(rows.slot_rows.begin(), rows.slot_rows.end(), std::int64_t{0}) == total);
    for (std::int64_t r = 0; r < ranks; ++r) {
      std::int64_t sent = 0;
      std::int64_t received = 0;
      for (std::int64_t other = 0; other < ranks; ++other) {
        sent += rows.sent[static_cast<std::size_t>(r * ranks + other)];
        received += rows.sent[static_cast<std::size_t>(other * ranks + r)];
      }
      REQUIRE(sent == (padded ? gate.experts * loads.capacity : rows_of_source(loads, r)));
      REQUIRE(received == rows.of_rank(r));
    }
  }
}
