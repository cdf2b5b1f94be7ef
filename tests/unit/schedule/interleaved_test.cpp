// In which turn microbatches go through chunks, against Megatron-Core and PyTorch.
#include "sim/schedule/interleaved.hpp"

#include <fmt/format.h>

#include <catch2/catch.hpp>

#include "tests/support/orders.hpp"

using namespace moesim;
using testing::durations_of;
using testing::schedule_of;

namespace {

/// Runs of neighbours: "0-4@1" is microbatches 0 to 4 in chunk 1.
std::string runs(const std::vector<Slot>& turns) {
  std::string text;
  for (std::size_t i = 0; i < turns.size();) {
    std::size_t end = i + 1;
    while (end < turns.size() && turns[end].chunk == turns[i].chunk &&
           turns[end].microbatch == turns[end - 1].microbatch + 1)
      ++end;
    text += fmt::format("{}{}-{}@{}", text.empty() ? "" : " ", turns[i].microbatch, turns[end - 1].microbatch,
                        turns[i].chunk);
    i = end;
  }
  return text;
}

std::string turns(std::int64_t ranks, std::int64_t microbatches, std::int64_t chunks, std::int64_t group) {
  return runs(Interleaving{chunks, group}.turns({.ranks = ranks, .microbatches = microbatches}));
}

}  // namespace

// Megatron-Core, schedules.py: its example of 2 ranks, groups of 3 and 5 microbatches; then what
// get_schedule_table gives for the ranks and groups of its test_schedules.py.
TEST_CASE("Groups of microbatches come as in Megatron-Core's table") {
  CHECK(turns(2, 5, 2, 3) == "0-2@0 0-2@1 3-4@0 3-4@1");
  CHECK(turns(2, 8, 2, 2) == "0-1@0 0-1@1 2-3@0 2-3@1 4-5@0 4-5@1 6-7@0 6-7@1");
  CHECK(turns(2, 8, 4, 4) == "0-3@0 0-3@1 0-3@2 0-3@3 4-7@0 4-7@1 4-7@2 4-7@3");
  CHECK(turns(4, 8, 2, 4) == "0-3@0 0-3@1 4-7@0 4-7@1");
  CHECK(turns(4, 8, 2, 5) == "0-4@0 0-4@1 5-7@0 5-7@1");
  CHECK(turns(8, 8, 2, 9) == "0-7@0 0-7@1");
  CHECK(turns(8, 32, 2, 9) == "0-8@0 0-8@1 9-17@0 9-17@1 18-26@0 18-26@1 27-31@0 27-31@1");
  CHECK(turns(8, 32, 2, 11) == "0-10@0 0-10@1 11-21@0 11-21@1 22-31@0 22-31@1");
}

TEST_CASE("A group has a microbatch for each rank at least, the last one too, as Megatron-Core asks") {
  const auto fits = [](std::int64_t ranks, std::int64_t microbatches, std::int64_t group) {
    return !schedule_of(fmt::format(R"({{"kind": "interleaved", "group": {}}})", group))
                ->fits({.ranks = ranks, .microbatches = microbatches});
  };
  CHECK(fits(8, 32, 11));
  CHECK(fits(2, 32, 4));
  CHECK(fits(4, 9, 5));
  CHECK_FALSE(fits(4, 8, 3));   // ranks would wait for each other
  CHECK_FALSE(fits(4, 8, 9));   // there are not so many
  CHECK_FALSE(fits(4, 8, 5));   // 3 are left
  CHECK_FALSE(fits(8, 32, 9));  // 5 are left
  CHECK(
      schedule_of(R"({"kind": "interleaved", "group": 5})")->fits({.ranks = 4, .microbatches = 8})->what() ==
      std::string("interleaved: 8 microbatches in groups of 5 leave 3, expected none or at least 4"));
}

TEST_CASE(
    "Ranks run ahead of their first backward as in Megatron-Core: two forwards for each rank behind, and all "
    "chunks of a group but one") {
  const Order order = schedule_of(R"({"kind": "interleaved", "chunks": 4, "group": 11})")
                          ->order({.ranks = 8, .microbatches = 32});
  for (std::size_t r = 0; r < 8; ++r) {
    const auto first = std::find_if(order.ranks[r].begin(), order.ranks[r].end(),
                                    [](const Slot& slot) { return slot.pass == Pass::backward; });
    CHECK(first - order.ranks[r].begin() == static_cast<std::ptrdiff_t>(2 * (7 - r) + 3 * 11 + 1));
  }
}

// torch.distributed.pipelining: max(1, microbatches // ranks) rounds of equal size.
TEST_CASE("Where ranks do not divide the microbatches, groups are a few microbatches larger") {
  CHECK(turns(4, 10, 2, 0) == "0-4@0 0-4@1 5-9@0 5-9@1");
  CHECK(turns(4, 13, 2, 0) == "0-4@0 0-4@1 5-8@0 5-8@1 9-12@0 9-12@1");
  CHECK(turns(4, 3, 2, 0) == "0-2@0 0-2@1");
  const PipelineShape ten{.ranks = 4,
                          .microbatches = 10,
                          .forward = Time{4},
                          .backward_input = Time{4},
                          .backward_weight = Time{4},
                          .send = {}};
  const Order order = schedule_of("interleaved")->order(ten);
  CHECK(replay(order, durations_of(ten)).makespan == Time{276});
  for (std::size_t r = 0; r < 4; ++r)
    CHECK(peak_in_flight(order.ranks[r]) == static_cast<std::int64_t>(12 - 2 * r));
}

TEST_CASE("Every group that fits can be run, on every rank") {
  for (const std::string kind : {"interleaved", "zb_interleaved"}) {
    for (std::int64_t p = 1; p <= 7; ++p) {
      for (std::int64_t m = p; m <= 20; ++m) {
        for (std::int64_t group = p; group <= m; ++group) {
          const auto schedule =
              schedule_of(fmt::format(R"({{"kind": "{}", "chunks": 3, "group": {}}})", kind, group));
          const PipelineShape shape{.ranks = p, .microbatches = m};
          if (schedule->fits(shape)) continue;
          INFO(kind << ": " << p << " ranks, " << m << " microbatches in groups of " << group);
          CHECK_NOTHROW(replay(schedule->order(shape), durations_of(shape)));
        }
      }
    }
  }
}
