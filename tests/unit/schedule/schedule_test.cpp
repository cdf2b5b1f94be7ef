#include <catch2/catch.hpp>
#include <numeric>

#include "models/base/error.hpp"
#include "tests/support/orders.hpp"

using namespace moesim;
using namespace moesim::literals;
using Catch::Matchers::Message;
using testing::schedule_of;

namespace {

/// One rank, one stage, two microbatches.
Order tiny(std::vector<Slot> slots) {
  Order order = empty_order({.ranks = 1, .microbatches = 2}, straight_chains(1));
  order.ranks[0] = std::move(slots);
  return order;
}

constexpr Slot forward(std::int32_t microbatch) {
  return {.pass = Pass::forward, .overlapped = false, .chunk = 0, .microbatch = microbatch};
}
constexpr Slot backward(std::int32_t microbatch) {
  return {.pass = Pass::backward, .overlapped = false, .chunk = 0, .microbatch = microbatch};
}
constexpr Slot input(std::int32_t microbatch) {
  return {.pass = Pass::backward_input, .overlapped = false, .chunk = 0, .microbatch = microbatch};
}
constexpr Slot weight(std::int32_t microbatch) {
  return {.pass = Pass::backward_weight, .overlapped = false, .chunk = 0, .microbatch = microbatch};
}
constexpr Slot overlapped(Slot slot) {
  slot.overlapped = true;
  return slot;
}

}  // namespace

TEST_CASE("An order is checked and its first flaw is named") {
  struct Flaw {
    std::vector<Slot> slots;
    std::string message;
  };
  const Flaw flaw = GENERATE(
      Flaw{{forward(0), forward(0)}, "order of rank 0: F of microbatch 0, chunk 0 comes twice"},
      Flaw{{backward(1)}, "order of rank 0: BW of microbatch 1, chunk 0 comes before its forward"},
      Flaw{{forward(0), input(0), backward(0)}, "order of rank 0: BW of microbatch 0, chunk 0 comes twice"},
      Flaw{{forward(1), weight(1)},
           "order of rank 0: W of microbatch 1, chunk 0 comes before its input gradient"},
      Flaw{{forward(0), input(0), weight(0), weight(0)},
           "order of rank 0: W of microbatch 0, chunk 0 comes twice"},
      Flaw{{forward(0), forward(1), backward(0), input(1)},
           "order of rank 0: microbatch 1, chunk 0 is not finished"},
      Flaw{{forward(2)}, "order of rank 0: F of microbatch 2, chunk 0 is out of range"},
      Flaw{{overlapped(forward(0)), forward(1)},
           "order of rank 0: F of microbatch 0, chunk 0 overlaps with something else than the full backward "
           "that follows it"});
  CHECK_THROWS_MATCHES(check(tiny(flaw.slots)), std::logic_error, Message(flaw.message));
  CHECK_NOTHROW(check(tiny({forward(0), backward(0), forward(1), input(1), weight(1)})));
  CHECK_NOTHROW(check(tiny({forward(0), overlapped(forward(1)), backward(0), backward(1)})));
}

TEST_CASE("A microbatch is in flight on a rank from its F to the pass that ends its backward") {
  CHECK(peak_in_flight({forward(0), backward(0), forward(1), backward(1)}) == 1);
  CHECK(peak_in_flight({forward(0), input(0), forward(1), weight(0), input(1), weight(1)}) == 2);
  CHECK(peak_in_flight({forward(0), overlapped(forward(1)), backward(0), backward(1)}) == 2);
  CHECK(peak_in_flight({}) == 0);
}

TEST_CASE("A replay starts each pass when its rank is free and what it needs has arrived") {
  Order order = empty_order({.ranks = 2, .microbatches = 1}, straight_chains(2));
  order.ranks[0] = {forward(0), input(0), weight(0)};
  order.ranks[1] = {forward(0), backward(0)};
  const Replay times = replay(
      order,
      {.forward = 10_ps, .backward_input = 20_ps, .backward_weight = 5_ps, .overlapped = {}, .send = 3_ps});
  CHECK(times.starts[1] == std::vector<Time>{13_ps, 23_ps});
  CHECK(times.ends[1] == std::vector<Time>{23_ps, 48_ps});
  CHECK(times.starts[0] == std::vector<Time>{0_ps, 51_ps, 71_ps});
  CHECK(times.makespan == 76_ps);
  CHECK(times.longest_span() == 76_ps);
}

TEST_CASE("A pair starts when both of its passes can and both end together") {
  const Order order = tiny({forward(0), overlapped(forward(1)), backward(0), backward(1)});
  const Replay times = replay(
      order,
      {.forward = 10_ps, .backward_input = 10_ps, .backward_weight = 10_ps, .overlapped = 24_ps, .send = {}});
  CHECK(times.starts[0] == std::vector<Time>{0_ps, 10_ps, 10_ps, 34_ps});
  CHECK(times.ends[0] == std::vector<Time>{10_ps, 34_ps, 34_ps, 54_ps});
}

TEST_CASE("Passes that wait for each other are a failed run that names a rank and its pass") {
  Order order = empty_order({.ranks = 2, .microbatches = 2}, straight_chains(2));
  order.ranks[0] = {forward(0), backward(0), forward(1), backward(1)};
  order.ranks[1] = {forward(1), backward(1), forward(0), backward(0)};
  CHECK_THROWS_MATCHES(replay(order, testing::durations_of({})), RunError,
                       Message("the order cannot finish: rank 0 waits at its pass 1 of 4"));
}

TEST_CASE("Schedules that cannot serve a pipeline say so with its numbers") {
  struct Refusal {
    std::string kind;
    std::int64_t ranks, microbatches;
    std::string message;
  };
  const Refusal refusal = GENERATE(
      Refusal{R"({"kind": "interleaved", "group": 3})", 4, 6,
              "schedule: interleaved: groups of 3 of 6 microbatches on 4 pipeline ranks, expected one for "
              "each rank at least, and no more than all"},
      Refusal{"chimera", 3, 6, "schedule: chimera: 3 pipeline ranks are odd, expected an even number"},
      Refusal{"chimera", 4, 7, "schedule: chimera: 7 microbatches are odd, expected an even number"},
      Refusal{"dualpipe", 3, 6, "schedule: dualpipe: 3 pipeline ranks are odd, expected an even number"},
      Refusal{
          "dualpipe", 4, 9,
          "schedule: dualpipe: 9 microbatches on 4 pipeline ranks, expected an even number of at least 8"},
      Refusal{
          "dualpipe", 4, 6,
          "schedule: dualpipe: 6 microbatches on 4 pipeline ranks, expected an even number of at least 8"},
      Refusal{"dualpipev", 4, 7,
              "schedule: dualpipev: 7 microbatches on 4 pipeline ranks, expected at least 8"},
      Refusal{
          R"({"kind": "zb_auto", "limit": 0.2})", 4, 8,
          "schedule: zb_auto: limit 0.2 on 4 pipeline ranks lets a rank hold 0.8 microbatches, expected at "
          "least one"});
  const auto schedule = schedule_of(refusal.kind);
  const Fit fit = schedule->fits({.ranks = refusal.ranks, .microbatches = refusal.microbatches});
  REQUIRE(fit);
  CHECK(fmt::format("{}: {}", fit->key(), fit->what()) == refusal.message);
}

TEST_CASE("Schedules serve the smallest pipeline that they speak of") {
  CHECK(!schedule_of("dualpipe")->fits({.ranks = 4, .microbatches = 8}));
  CHECK(!schedule_of("dualpipev")->fits({.ranks = 4, .microbatches = 8}));
  CHECK(!schedule_of("chimera")->fits({.ranks = 2, .microbatches = 2}));
  CHECK(!schedule_of("interleaved")->fits({.ranks = 4, .microbatches = 4}));
  CHECK(!schedule_of(R"({"kind": "zb_auto", "limit": 0.25})")->fits({.ranks = 4, .microbatches = 8}));
}

TEST_CASE("A key out of its bounds is refused") {
  CHECK_THROWS_MATCHES(schedule_of(R"({"kind": "interleaved", "chunks": 0})"), InputError,
                       Message("schedule of a test: schedule.chunks: is 0, expected 1 to 100"));
  CHECK_THROWS_MATCHES(schedule_of(R"({"kind": "zb_auto", "kept_for_weight": 2000})"), InputError,
                       Message("schedule of a test: schedule.kept_for_weight: is 2000, expected 0 to 1000"));
}

TEST_CASE("zb_auto fits its order to the durations that it is given before those of the cost model") {
  const std::string given =
      R"({"kind": "zb_auto", "limit": 2, "forward": "2 ms", "backward_input": "4 ms",
          "backward_weight": "1 ms", "send": "1 us"})";
  const PipelineShape plain{.ranks = 8, .microbatches = 24};
  PipelineShape timed = plain;
  timed.forward = 2_ms;
  timed.backward_input = 4_ms;
  timed.backward_weight = 1_ms;
  timed.send = 1_us;
  const std::string from_cost = R"({"kind": "zb_auto", "limit": 2})";
  const bool same = schedule_of(given)->order(plain).ranks == schedule_of(from_cost)->order(timed).ranks;
  const bool fitted = schedule_of(given)->order(plain).ranks != schedule_of(from_cost)->order(plain).ranks;
  CHECK(same);
  CHECK(fitted);
}

TEST_CASE("zb_auto lets ranks flow into the next step unless the makespan is to be small") {
  const PipelineShape shape{.ranks = 4, .microbatches = 8};
  CHECK(schedule_of("zb_auto")->order(shape).flows_into_next_step);
  CHECK_FALSE(
      schedule_of(R"({"kind": "zb_auto", "minimize": "makespan"})")->order(shape).flows_into_next_step);
}
