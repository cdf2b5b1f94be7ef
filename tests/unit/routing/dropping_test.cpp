// What is over a capacity: closed forms against tokens drawn one by one and sums over a binomial.
#include <fmt/format.h>

#include <catch2/catch.hpp>
#include <cmath>

#include "models/base/at.hpp"
#include "models/base/random.hpp"
#include "models/routing/dropping.hpp"
#include "tests/support/routers.hpp"

using namespace moesim;

namespace {

/// E[max(0, X - most)], term by term.
double over_by_sum(std::int64_t tokens, double p, std::int64_t most) {
  double over = 0;
  for (std::int64_t x = most + 1; x <= tokens; ++x) {
    const auto n = static_cast<double>(tokens), k = static_cast<double>(x);
    const double log_chance = std::lgamma(n + 1) - std::lgamma(k + 1) - std::lgamma(n - k + 1) +
                              k * std::log(p) + (n - k) * std::log1p(-p);
    over += (k - static_cast<double>(most)) * std::exp(log_chance);
  }
  return over;
}

}  // namespace

TEST_CASE("What an expert drops is what a binomial has over the capacity, term by term") {
  for (const std::int64_t tokens : {1, 7, 100, 4096}) {
    for (const auto& [experts, top_k] : {std::pair{8, 2}, {64, 8}, {128, 1}}) {
      for (const double factor : {0.5, 1.0, 1.25, 2.0}) {
        const Gate gate{.experts = experts, .top_k = top_k};
        const double p = static_cast<double>(top_k) / experts;
        const auto n = static_cast<double>(tokens);
        const auto most =
            std::min(tokens, std::max<std::int64_t>(1, std::llround(std::ceil(n * p * factor - 1e-9))));
        INFO(tokens << " tokens, " << top_k << " of " << experts << ", " << factor);
        CHECK(Dropping{.factor = factor}.kept(gate, 4, tokens) ==
              Approx(1 - over_by_sum(tokens, p, most) / (n * p)).epsilon(1e-9));
      }
    }
  }
}

TEST_CASE("Megatron-Core's capacity is rounded up, and no more than all tokens") {
  const Dropping one{.factor = 1, .padded = true};
  CHECK(one.padded_rows({.experts = 64, .top_k = 6}, 100) == 10);  // 9.375
  CHECK(one.padded_rows({.experts = 8, .top_k = 2}, 4096) == 1024);
  CHECK(Dropping{.factor = 3, .padded = true}.padded_rows({.experts = 4, .top_k = 2}, 10) == 10);
  CHECK(Dropping{.factor = 1}.padded_rows({.experts = 8, .top_k = 2}, 4096) == 0);
}

TEST_CASE("Without straying nothing is dropped at the even share, and what is over it below") {
  const Gate gate{.experts = 16, .top_k = 2};
  CHECK(Dropping{.factor = 1, .strays = false}.kept(gate, 4, 800) == 1);
  CHECK(Dropping{.factor = 0.75, .strays = false}.kept(gate, 4, 800) == Approx(0.75));
  CHECK(Dropping{.factor = 0.75, .of = CapacityOf::rank, .strays = false}.kept(gate, 4, 800) == Approx(0.75));
}

TEST_CASE("As many choices are dropped as of tokens that are drawn one by one") {
  const Gate gate{.experts = 32, .top_k = 1};
  const std::string skew = R"("skew": {"kind": "zipf", "exponent": 0.6})";
  const Router expected = router_of(fmt::format(R"({{"kind": "top_k", "capacity_factor": 1.25, {}}})", skew));
  const Router drawn = router_of(fmt::format(R"({{"kind": "switch", "padded": false, {}}})", skew));
  double sum = 0;
  constexpr int rounds = 200;
  for (int round = 0; round < rounds; ++round)
    sum += static_cast<double>(drawn.loads(gate, 3, round, 0, 4, 512).dropped);
  const Loads loads = expected.loads(gate, 3, 0, 0, 4, 512);
  CHECK(static_cast<double>(loads.dropped) == Approx(sum / rounds).epsilon(0.02));
}

TEST_CASE("Of rows of ranks as many are dropped as of tokens that draw different experts") {
  const Dropping dropping{.factor = 1, .of = CapacityOf::rank};
  const Gate gate{.experts = 8, .top_k = 2};
  CHECK(dropping.kept(gate, 1, 256) == 1);  // which gets all choices, as it has room for
  RandomStream random = Random(7).stream("tokens");
  for (const std::int64_t ranks : {2, 4}) {
    constexpr int rounds = 400;
    double dropped = 0;
    for (int round = 0; round < rounds; ++round) {
      std::vector<std::int64_t> rows(static_cast<std::size_t>(ranks), 0);
      for (std::int64_t token = 0; token < ranks * 256; ++token) {
        const auto one = static_cast<std::int64_t>(random.below(8));
        const auto other = static_cast<std::int64_t>(random.below(7));
        ++at(rows, one * ranks / 8);
        ++at(rows, (other + (other >= one ? 1 : 0)) * ranks / 8);
      }
      for (const std::int64_t of_rank : rows)
        dropped += static_cast<double>(std::max<std::int64_t>(0, of_rank - 512));
    }
    CAPTURE(ranks);
    CHECK(1 - dropping.kept(gate, ranks, 256) ==
          Approx(dropped / (rounds * static_cast<double>(ranks) * 512)).epsilon(0.06));
  }
}

TEST_CASE("A rank drops only where all its experts together are over its budget") {
  const std::string skew = R"("skew": {"kind": "zipf", "exponent": 1.0})";
  const Gate gate{.experts = 64, .top_k = 6};
  const Router rank = router_of(
      fmt::format(R"({{"kind": "group_limited", "capacity_factor": 1, "capacity_of": "rank", {}}})", skew));
  const Router expert =
      router_of(fmt::format(R"({{"kind": "group_limited", "capacity_factor": 1, {}}})", skew));
  const Loads of_rank = rank.loads(gate, 0, 0, 0, 8, 4096);
  const Loads of_expert = expert.loads(gate, 0, 0, 0, 8, 4096);
  CHECK(of_rank.dropped > 0);
  CHECK(of_rank.dropped < of_expert.dropped);
  const std::int64_t budget = 4096 * 6;
  for (std::int64_t r = 0; r < 8; ++r) {
    std::int64_t rows = 0;
    for (std::int64_t e = r * 8; e < r * 8 + 8; ++e) rows += of_rank.of_expert(e);
    CHECK(rows <= budget + 8);
  }
}

TEST_CASE("A capacity of less than a row leaves one") {
  const Router tiny = router_of(R"({"kind": "top_k", "capacity_factor": 0.00001, "capacity_of": "rank"})");
  const Loads loads = tiny.loads({.experts = 8, .top_k = 2}, 0, 0, 0, 4, 16);
  CHECK(loads.total() == 1);
  CHECK(loads.dropped == 4 * 16 * 2 - 1);
}

TEST_CASE("Padded buffers need a capacity, and are of experts") {
  CHECK_THROWS_WITH(router_of(R"({"kind": "top_k", "padded": true})"),
                    Catch::Contains("without capacity_factor nothing has a size"));
  CHECK_THROWS_WITH(
      router_of(R"({"kind": "top_k", "padded": true, "capacity_factor": 1, "capacity_of": "rank"})"),
      Catch::Contains("buffers are of experts"));
}
