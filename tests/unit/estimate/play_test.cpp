// Two lanes of one rank played against each other, by hand.
#include <catch2/catch.hpp>
#include <vector>

#include "sim/estimate/play.hpp"

using namespace moesim;

namespace {

constexpr Lane computing = 1, calling = 2;

Act compute_on(Lane lane) {
  return {.kind = ActKind::compute, .activity = Activity::attention, .lane = lane};
}
Act call_on(Lane lane) { return {.kind = ActKind::call, .activity = Activity::dispatch, .lane = lane}; }
Act join() { return {.kind = ActKind::join, .behind = computing, .also_behind = calling}; }

ActPrice compute_of(std::int64_t time, float slowdown = 1) {
  return {.time = Time{time}, .slowdown = slowdown};
}
ActPrice call_of(std::int64_t latency, double bytes, double slowed, bool holds = false) {
  return {.time = Time{latency},
          .bytes = bytes,
          .slowed = slowed,
          .is_call = true,
          .holds_multiprocessors = holds};
}

Time played(const std::vector<Act>& acts, const std::vector<ActPrice>& prices, double pace = 1) {
  Play play;
  play.begin(pace);
  play.issue(0, {acts, prices});
  return play.end();
}

}  // namespace

TEST_CASE("Acts of one lane follow each other: 100 ps of compute, then 10 + 40 of a call") {
  CHECK(played({compute_on(main_lane), call_on(main_lane)}, {compute_of(100), call_of(10, 40, 40)}) ==
        Time{150});
}

TEST_CASE("Two lanes take as long as the longer, and a join waits for both") {
  const std::vector<Act> acts{compute_on(computing), call_on(calling), join(), compute_on(main_lane)};
  CHECK(played(acts, {compute_of(100), call_of(10, 40, 40), {}, compute_of(7)}) == Time{107});
  CHECK(played(acts, {compute_of(30), call_of(10, 40, 40), {}, compute_of(7)}) == Time{57});
}

// The call: latency until 10, then bytes at half speed beside compute, done at 10 + 80. Compute: 90 ps of
// work at two thirds of its speed are 60, the other 40 go on alone.
TEST_CASE("A call and a computation slow each other down for as long as both run") {
  const std::vector<Act> acts{compute_on(computing), call_on(calling), join()};
  CHECK(played(acts, {compute_of(100, 1.5F), call_of(10, 40, 80, true), {}}) == Time{130});
  CHECK(played(acts, {compute_of(100, 1.5F), call_of(10, 40, 80, false), {}}) == Time{100});
}

// Compute ends at 45 = 30 x 1.5; by then 35 of 80 are over, and 45 / 80 of 40 ps are left.
TEST_CASE("A call that outlasts its computation goes on at full speed") {
  const std::vector<Act> acts{compute_on(computing), call_on(calling), join()};
  CHECK(played(acts, {compute_of(30, 1.5F), call_of(10, 40, 80, true), {}}) == Time{45 + 23});
}

// As above, of 200 ps: 90 at two thirds of its speed are 60, the other 140 go on alone.
TEST_CASE("At a slower pace computation lasts longer and calls do not") {
  const std::vector<Act> acts{compute_on(computing), call_on(calling), join()};
  CHECK(played(acts, {compute_of(100, 1.5F), call_of(10, 40, 80, true), {}}, 2) == Time{230});
  CHECK(played({call_on(main_lane)}, {call_of(10, 40, 40)}, 2) == Time{50});
}

TEST_CASE("Passes of a pair share a queue of compute and one of calls, each in the order of issue") {
  Play play;
  play.begin();
  const std::vector<Act> forward{compute_on(main_lane), call_on(main_lane)};
  const std::vector<ActPrice> forward_prices{compute_of(100), call_of(0, 50, 50)};
  const std::vector<Act> backward{call_on(main_lane), compute_on(main_lane)};
  const std::vector<ActPrice> backward_prices{call_of(0, 60, 60), compute_of(100)};
  play.issue(0, {forward, forward_prices});
  play.issue(1, {backward, backward_prices});
  CHECK(play.end() == Time{100 + 50 + 60 + 100});  // the backward's call is behind the forward's
  play.begin();
  play.issue(1, {std::span(backward).first(1), std::span(backward_prices).first(1)});
  play.issue(0, {forward, forward_prices});
  play.issue(1, {std::span(backward).last(1), std::span(backward_prices).last(1)});
  CHECK(play.end() == Time{200});  // 60 beside 100, then 50 beside 100
}
