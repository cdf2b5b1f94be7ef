#include "sim/engine/event_ladder.hpp"

#include <catch2/catch.hpp>

#include "models/base/random.hpp"

using namespace moesim;

namespace {

/// Spans of very different lengths, ties among them: what makes buckets uneven.
std::int64_t span_of(RandomStream& random) {
  switch (random.below(4)) {
    case 0:
      return 0;
    case 1:
      return static_cast<std::int64_t>(random.below(10));
    case 2:
      return static_cast<std::int64_t>(random.below(1'000'000));
    default:
      return static_cast<std::int64_t>(random.below(1'000'000'000'000));
  }
}

}  // namespace

TEST_CASE(
    "A ladder gives events in the order of one heap, however many wait and however uneven their times") {
  for (const std::size_t waiting : {std::size_t{1}, std::size_t{70}, std::size_t{3000}}) {
    RandomStream random = Random(1).stream("ladder", waiting);
    EventLadder ladder;
    EventQueue<false> heap;
    Time now;
    TaskId task = 0;
    for (int i = 0; i < 20'000; ++i) {
      for (std::uint64_t more = random.below(3); more > 0 && heap.size() < waiting; --more) {
        const Event event{now + Time{span_of(random)}, task++, nothing};
        ladder.push(event);
        heap.push(event);
      }
      REQUIRE(ladder.empty() == heap.empty());
      if (heap.empty()) continue;
      REQUIRE(ladder.top().task == heap.top().task);
      REQUIRE(ladder.top().time == heap.top().time);
      now = heap.top().time;
      ladder.pop();
      heap.pop();
    }
  }
}

TEST_CASE("A ladder takes a crowd that waits from the beginning, and gives it back whole") {
  RandomStream random = Random(1).stream("crowd");
  EventLadder ladder;
  for (TaskId task = 0; task < 50'000; ++task) ladder.push({Time{span_of(random)}, task, nothing});
  Event last{Time{-1}, 0, nothing};
  std::size_t count = 0;
  for (; !ladder.empty(); ladder.pop(), ++count) {
    if (!is_before(last, ladder.top())) FAIL("out of order after " << count);
    last = ladder.top();
  }
  CHECK(count == 50'000);
}
