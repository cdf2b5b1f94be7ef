// DualPipe and DualPipeV against recordings of their published implementations.
#include <fmt/format.h>

#include <catch2/catch.hpp>
#include <map>

#include "tests/support/orders.hpp"

using namespace moesim;
using testing::schedule_of;

namespace {

const Value& recording() {
  static const Value value = load_document(MOESIM_SOURCE "/tests/support/dualpipe_orders.json");
  return value;
}

/// A rank's order in the words of the recording; `phase_0` is the chunk that it meets early.
std::string words(const std::vector<Slot>& rank, int phase_0, std::int32_t second_half) {
  std::string text;
  for (const Slot& slot : rank) {
    text += fmt::format("{}{}.{}{}", pass_letters[static_cast<std::size_t>(slot.pass)],
                        slot.chunk == phase_0 ? 0 : 1, slot.microbatch - (slot.chunk == 1 ? second_half : 0),
                        slot.overlapped ? "+" : " ");
  }
  text.pop_back();
  return text;
}

struct Counts {
  std::int64_t forward = 0, full = 0, input = 0, weight = 0, pairs = 0;
  friend bool operator==(const Counts&, const Counts&) = default;
};

Counts counts_of(const std::vector<Slot>& rank) {
  Counts counts;
  for (std::size_t i = 0; i < rank.size(); ++i) {
    const bool second = i > 0 && rank[i - 1].overlapped;
    if (rank[i].overlapped) ++counts.pairs;
    if (rank[i].overlapped || second) continue;
    if (rank[i].pass == Pass::forward) ++counts.forward;
    if (rank[i].pass == Pass::backward) ++counts.full;
    if (rank[i].pass == Pass::backward_input) ++counts.input;
    if (rank[i].pass == Pass::backward_weight) ++counts.weight;
  }
  return counts;
}

}  // namespace

TEST_CASE("DualPipe writes the order that its published implementation runs, slot by slot") {
  const Order order = schedule_of("dualpipe")->order({.ranks = 8, .microbatches = 20});
  for (std::size_t r = 0; r < 8; ++r) {
    CAPTURE(r);
    CHECK(words(order.ranks[r], r < 4 ? 0 : 1, 10) == recording().find("dualpipe")->items[r].text);
  }
}

TEST_CASE("DualPipeV writes the order that its published implementation runs, slot by slot") {
  const Order order = schedule_of("dualpipev")->order({.ranks = 4, .microbatches = 10});
  for (std::size_t r = 0; r < 4; ++r) {
    CAPTURE(r);
    CHECK(words(order.ranks[r], 0, 0) == recording().find("dualpipev")->items[r].text);
  }
}

TEST_CASE("DualPipe starts and ends each pass when its recorded order does") {
  const Order order = schedule_of("dualpipe")->order({.ranks = 8, .microbatches = 20});
  const Replay times = replay(order, {.forward = Time{1},
                                      .backward_input = Time{1},
                                      .backward_weight = Time{1},
                                      .overlapped = Time{3},
                                      .send = {}});
  for (std::size_t r = 0; r < 8; ++r) {
    CAPTURE(r);
    std::vector<std::int64_t> starts;
    std::vector<std::int64_t> ends;
    for (std::size_t i = 0; i < order.ranks[r].size(); ++i) {
      if (order.ranks[r][i].overlapped) continue;  // the recording has one time for a pair
      starts.push_back(times.starts[r][i].count);
      ends.push_back(times.ends[r][i].count);
    }
    const auto recorded = [&](const char* name) {
      std::vector<std::int64_t> list;
      for (const Value& time : recording().find(name)->items[r].items) list.push_back(time.integer);
      return list;
    };
    CHECK(starts == recorded("dualpipe_starts"));
    CHECK(ends == recorded("dualpipe_ends"));
  }
}

TEST_CASE("DualPipe has the published number of passes of each kind on each rank") {
  const Order eight = schedule_of("dualpipe")->order({.ranks = 8, .microbatches = 20});
  const Counts of_eight[] = {{11, 4, 7, 7, 9}, {10, 4, 6, 6, 10}, {9, 4, 5, 5, 11}, {9, 5, 4, 4, 11}};
  for (std::size_t r = 0; r < 8; ++r) CHECK(counts_of(eight.ranks[r]) == of_eight[std::min(r, 7 - r)]);
  const Order four = schedule_of("dualpipe")->order({.ranks = 4, .microbatches = 8});
  const Counts of_four[] = {{5, 2, 3, 3, 3}, {5, 3, 2, 2, 3}};
  for (std::size_t r = 0; r < 4; ++r) CHECK(counts_of(four.ranks[r]) == of_four[std::min(r, 3 - r)]);
}
