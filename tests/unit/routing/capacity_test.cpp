// Buffers, drops and second choices of switch and gshard, against closed formulas, a brute force and papers.
#include <fmt/format.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <numbers>
#include <numeric>

#include "models/base/error.hpp"
#include "tests/support/routers.hpp"

using namespace moesim;

namespace {

double share(std::int64_t part, std::int64_t whole) {
  return static_cast<double>(part) / static_cast<double>(whole);
}

/// What GShard's algorithm 1 does with scores log(popularity) + Gumbel noise, token by token: rows of first
/// and second choices of each expert over all tokens.
std::pair<std::vector<double>, std::vector<double>> gshard_by_force(const std::vector<double>& popularity,
                                                                    int tokens) {
  RandomStream random = Random(77).stream("force");
  std::vector<double> first(popularity.size(), 0.0);
  std::vector<double> second(popularity.size(), 0.0);
  std::vector<double> weight(popularity.size());
  for (int token = 0; token < tokens; ++token) {
    for (std::size_t e = 0; e < weight.size(); ++e) {
      const double gumbel = -std::log(-std::log(1 - random.uniform()));
      weight[e] = std::exp(std::log(popularity[e]) + gumbel);
    }
    const auto best =
        static_cast<std::size_t>(std::max_element(weight.begin(), weight.end()) - weight.begin());
    const double g1 = weight[best];
    weight[best] = -1;
    const auto next =
        static_cast<std::size_t>(std::max_element(weight.begin(), weight.end()) - weight.begin());
    const double g2 = weight[next];
    first[best] += 1.0 / tokens;
    if (2 * g2 / (g1 + g2) > random.uniform()) second[next] += 1.0 / tokens;
  }
  return {first, second};
}

}  // namespace

// mesh_tensorflow/transformer/moe.py: int(tokens x factor / experts), at most all tokens, at least 4.
TEST_CASE("A Switch capacity is rounded down, between four rows and all tokens") {
  const auto capacity = [](const std::string& keys, std::int64_t experts, std::int64_t tokens) {
    const Router made = router_of(fmt::format(R"({{"kind": "switch"{}}})", keys));
    return made.routing->capacity({.experts = experts}, tokens);
  };
  CHECK(capacity("", 128, 1024) == 10);
  CHECK(capacity(R"(, "capacity_factor": 1.0)", 128, 1023) == 7);
  CHECK(capacity(R"(, "capacity_factor": 2.0)", 128, 1024) == 16);
  CHECK(capacity("", 128, 128) == 4);
  CHECK(capacity(R"(, "minimum_capacity": 1)", 128, 128) == 1);
  CHECK(capacity(R"(, "capacity_factor": 100)", 8, 64) == 64);
  CHECK(capacity(R"(, "padded": false)", 128, 1024) == 0);
}

// GShard, arXiv 2006.16668, section 3.1: 2N/(G E) rows of an expert from each of G groups of N tokens.
TEST_CASE("A GShard capacity is 2N over G E in each group") {
  const auto capacity = [](const std::string& keys, std::int64_t experts, std::int64_t tokens) {
    const Router made = router_of(fmt::format(R"({{"kind": "gshard"{}}})", keys));
    return made.routing->capacity({.experts = experts, .top_k = 2}, tokens);
  };
  CHECK(capacity("", 2048, 2048) == 2);
  CHECK(capacity("", 128, 4096) == 64);
  CHECK(capacity(R"(, "group": 1024)", 128, 4096) == 4 * 16);
  CHECK(capacity(R"(, "group": 1000)", 128, 4096) == 5 * 12);  // 820 tokens: 12.8 rows
  CHECK(capacity(R"(, "capacity_factor": 0.5)", 128, 4096) == 32);
}

// Of a binomial count with mean m and deviation d, mean of what is over m is d phi(0), so 0.399 d / m are
// dropped at capacity factor 1.
TEST_CASE("An even Switch router drops what chance puts over the capacity, and less than the published 1 %") {
  // Switch-Base: 128 experts, 32 cores, 2^20 tokens a batch (arXiv 2101.03961, sections 2.2 and 5): typically
  // under 1 % dropped.
  const Gate gate{.experts = 128};
  constexpr std::int64_t tokens = (1 << 20) / 32;
  const auto dropped = [&](double factor) {
    const Router made = router_of(fmt::format(R"({{"kind": "switch", "capacity_factor": {}}})", factor));
    return share(made.loads(gate, 0, 0, 0, 32, tokens).dropped, 32 * tokens);
  };
  const double mean = tokens / 128.0;
  const double deviation = std::sqrt(mean * (1 - 1.0 / 128));
  CHECK(dropped(1.0) == Approx(deviation / mean / std::sqrt(2 * std::numbers::pi)).epsilon(0.05));
  CHECK(dropped(1.25) < 0.01);
  CHECK(dropped(2.0) == 0);
}

TEST_CASE("A hot Switch expert keeps its capacity and drops the rest") {
  const Gate gate{.experts = 64};
  const Router made =
      router_of(R"({"kind": "switch", "skew": {"kind": "zipf", "exponent": 1.2}, "capacity_factor": 1.0})");
  const std::vector<double> popularity = made.popularity(gate, 0, 0);
  const Loads loads = made.loads(gate, 0, 0, 0, 8, 6400);
  double over = 0;
  for (const double p : popularity) over += std::max(0.0, p - 1.0 / 64);
  CHECK(loads.capacity == 100);
  CHECK(share(loads.dropped, 8 * 6400) == Approx(over).epsilon(0.03));
  const auto hottest = std::max_element(popularity.begin(), popularity.end()) - popularity.begin();
  CHECK(loads.of_expert(hottest) == 8 * 100);
}

TEST_CASE("With even experts GShard takes 2 (1 - ln 2) of the second choices") {
  const Gate gate{.experts = 2048, .top_k = 2};
  const Router made = router_of(R"({"kind": "gshard", "capacity_factor": 20})");
  const Loads loads = made.loads(gate, 0, 0, 0, 4, 50'000);
  CHECK(loads.dropped == 0);
  CHECK(share(loads.skipped, 4 * 50'000) == Approx(1 - 2 * (1 - std::numbers::ln2)).epsilon(0.01));
}

TEST_CASE("GShard's rows are those of softmax weights under Gumbel noise, first and second choices apart") {
  for (const double exponent : {0.0, 0.6, 1.5, 3.0}) {
    const Gate gate{.experts = 6, .top_k = 2};
    const std::string skew =
        fmt::format(R"("skew": {{"kind": "zipf", "exponent": {}}}, "capacity_factor": 6)", exponent);
    const Router random = router_of(fmt::format(R"({{"kind": "gshard", {}}})", skew));
    constexpr std::int64_t tokens = 200'000;
    const auto [first, second] = gshard_by_force(random.popularity(gate, 0, 0), tokens);
    const Loads loads = random.loads(gate, 0, 0, 0, 1, tokens);
    REQUIRE(loads.dropped == 0);
    for (std::int64_t e = 0; e < 6; ++e) {
      const auto at = static_cast<std::size_t>(e);
      INFO("exponent " << exponent << ", expert " << e);
      CHECK(share(loads.of(0, e), tokens) ==
            Approx(first[at] + second[at]).margin(0.006));  // four deviations
    }
    const double taken = std::accumulate(second.begin(), second.end(), 0.0);
    CHECK(1 - share(loads.skipped, tokens) == Approx(taken).margin(0.006));
  }
}

TEST_CASE("Second choices that are always taken are none left out, and never the first choice again") {
  const Gate gate{.experts = 2, .top_k = 2};
  const Router made =
      router_of(R"({"kind": "gshard", "second": "all", "skew": {"kind": "zipf", "exponent": 8}})");
  const Loads loads = made.loads(gate, 0, 0, 0, 2, 1000);
  CHECK(loads.skipped == 0);
  CHECK(loads.dropped == 0);
  CHECK(loads.rows == std::vector<std::int64_t>(4, 1000));
}

TEST_CASE("A model whose top-k is not the policy's is refused") {
  CHECK_THROWS_WITH(router_of(R"({"kind": "switch"})").check({.experts = 8, .top_k = 2}),
                    "top_k is 2, expected 1 for 'switch'");
  CHECK_THROWS_WITH(router_of(R"({"kind": "gshard"})").check({.experts = 8, .top_k = 1}),
                    "top_k is 1 of 8 experts, expected 2 of at least 2 for 'gshard'");
  CHECK_NOTHROW(router_of(R"({"kind": "gshard"})").check({.experts = 8, .top_k = 2}));
}
