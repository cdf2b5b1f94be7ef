// How many blocks of experts a token reaches: closed formulas, brute force, published figures.
#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <catch2/catch.hpp>
#include <cmath>

#include "models/base/error.hpp"
#include "models/base/random.hpp"
#include "models/routing/routing.hpp"

using namespace moesim;

namespace {

std::unique_ptr<const Routing> policy(const std::string& keys) {
  const Value value = parse_json(keys, "routing");
  Reader reader(value, "routing");
  return make_member(reader, routings(), "routing");
}

/// The mean number of blocks over all sets of k experts, one by one.
double reach_by_force(int experts, int top_k, int blocks) {
  std::int64_t reached = 0;
  std::int64_t sets = 0;
  for (unsigned set = 0; set < (1U << experts); ++set) {
    if (std::popcount(set) != top_k) continue;
    ++sets;
    const int size = experts / blocks;
    for (int block = 0; block < blocks; ++block) {
      reached += ((set >> (block * size)) & ((1U << size) - 1)) != 0 ? 1 : 0;
    }
  }
  return static_cast<double>(reached) / static_cast<double>(sets);
}

const Gate deepseek_v3{.experts = 256, .top_k = 8, .groups = 8, .chosen_groups = 4};

}  // namespace

TEST_CASE("The expected number of blocks is that of all choices, one by one") {
  for (const auto& [experts, blocks] : {std::pair{4, 2}, {6, 3}, {8, 2}, {8, 8}, {12, 4}, {12, 1}}) {
    for (int top_k = 1; top_k <= experts; ++top_k) {
      INFO(experts << " experts, " << blocks << " blocks, top " << top_k);
      CHECK(even_reach(experts, top_k, blocks) ==
            Approx(reach_by_force(experts, top_k, blocks)).epsilon(1e-12));
    }
  }
}

TEST_CASE("A choice of one reaches one block, a choice of all reaches all") {
  CHECK(even_reach(64, 1, 8) == Approx(1).epsilon(1e-12));
  CHECK(even_reach(64, 64, 8) == Approx(8).epsilon(1e-12));
  CHECK(even_reach(256, 8, 1) == 1);
  CHECK(even_reach(5, 2, 2) == Approx((1 - 3.0 / 10) + (1 - 1.0 / 10)));  // blocks of 2 and 3
  CHECK(even_reach(4, 2, 8) == Approx(2));                                // more blocks than experts
}

TEST_CASE("A group-limited token reaches no more than the chosen groups, with distinct experts") {
  for (const auto& [experts, groups, kept, top_k] :
       {std::tuple{256, 8, 4, 8}, {160, 8, 3, 6}, {16, 4, 1, 4}, {16, 4, 4, 3}, {12, 3, 2, 8}}) {
    const Gate gate{.experts = experts, .top_k = top_k, .groups = groups, .chosen_groups = kept};
    const auto limited = policy(R"({"kind": "group_limited"})");
    CHECK(limited->reach(gate, groups, Random(5)) <= kept);
    CHECK(limited->reach(gate, experts, Random(5)) == top_k);
  }
}

TEST_CASE("With one group, or all groups chosen, group-limited routing reaches what balanced routing does") {
  const Gate one{.experts = 64, .top_k = 6, .groups = 1, .chosen_groups = 1};
  const Gate all{.experts = 64, .top_k = 6, .groups = 8, .chosen_groups = 8};
  const auto limited = policy(R"({"kind": "group_limited"})");
  for (const Gate& gate : {one, all}) {
    CHECK(limited->reach(gate, 8, Random(1)) == Approx(even_reach(64, 6, 8)).epsilon(0.01));
  }
}

TEST_CASE("The scenario's groups win over the model's") {
  const auto limited = policy(R"({"kind": "group_limited", "groups": 16, "chosen": 1})");
  CHECK(limited->reach(deepseek_v3, 16, Random(1)) == 1);
}

// The distribution of DeepEP's test_internode.py (256 experts, top 8, a group a node, at most 4 nodes),
// computed from 3,000 tokens. It ranks groups by their highest score; DeepSeek-V3's router, and so ours, by
// the sum of the two highest, which spreads a token's experts over slightly fewer ranks: hence 1.5 %, of
// which 3,000 tokens themselves make 0.4 %.
TEST_CASE("Nodes and ranks reached by a DeepSeek-V3 token are those of DeepEP's test within 1.5 %") {
  struct Case {
    std::int64_t ranks, nodes;
    double ranks_reached, nodes_reached;
  };
  for (const Case& at :
       {Case{8, 1, 5.312, 1}, {16, 2, 6.507, 1.992}, {32, 4, 7.267, 3.605}, {64, 8, 7.479, 3.983}}) {
    const auto limited = policy(fmt::format(R"({{"kind": "group_limited", "groups": {}, "chosen": {}}})",
                                            at.nodes, std::min<std::int64_t>(4, at.nodes)));
    INFO(at.ranks << " ranks");
    CHECK(limited->reach(deepseek_v3, at.ranks, Random(1)) == Approx(at.ranks_reached).epsilon(0.015));
    CHECK(limited->reach(deepseek_v3, at.nodes, Random(1)) == Approx(at.nodes_reached).epsilon(0.015));
  }
}

TEST_CASE("The same seed gives the same numbers, another seed others within the sampling error") {
  const auto limited = policy(R"({"kind": "group_limited"})");
  const double first = limited->reach(deepseek_v3, 64, Random(1));
  CHECK(limited->reach(deepseek_v3, 64, Random(1)) == first);
  const double other = limited->reach(deepseek_v3, 64, Random(2));
  CHECK(other != first);
  CHECK(other == Approx(first).epsilon(0.01));
}

TEST_CASE("More chosen groups than groups is refused") {
  CHECK_THROWS_WITH(policy(R"({"kind": "group_limited", "groups": 4, "chosen": 5})"),
                    "routing: routing.chosen: is 5, expected at most the 4 groups");
}
