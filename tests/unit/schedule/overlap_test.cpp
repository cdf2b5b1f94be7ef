// Schedules that let a forward share the device with a backward, as an option.
#include <fmt/format.h>
#include <catch2/catch.hpp>

#include "models/config/document.hpp"
#include "sim/schedule/replay.hpp"
#include "sim/schedule/schedule.hpp"

using namespace moesim;

namespace {

Order order_of(const std::string& kind, bool overlap, std::int64_t ranks, std::int64_t microbatches) {
  const Value value = parse_json(fmt::format(R"({{"kind": "{}", "overlap": {}}})", kind, overlap), "test");
  Reader reader(value, "schedule");
  Order order =
      make_member(reader, schedules(), "schedule")->order({.ranks = ranks, .microbatches = microbatches});
  check(order);
  return order;
}

constexpr PassDurations unit{.forward = Time{10},
                             .backward_input = Time{12},
                             .backward_weight = Time{8},
                             .overlapped = Time{30},
                             .send = Time{0}};

}  // namespace

TEST_CASE("Overlapping costs no time where a pair takes as long as its halves") {
  const std::string kind = GENERATE("1f1b", "interleaved");
  const std::int64_t ranks = GENERATE(1, 2, 3, 4, 8);
  const std::int64_t rounds = GENERATE(1, 2, 5);
  CAPTURE(kind, ranks, rounds);
  const Replay plain = replay(order_of(kind, false, ranks, ranks * rounds), unit);
  const Replay overlapped = replay(order_of(kind, true, ranks, ranks * rounds), unit);
  CHECK(overlapped.makespan <= plain.makespan);
}

TEST_CASE("Overlapping saves what pairs save on the busiest rank") {
  const std::string kind = GENERATE("1f1b", "interleaved");
  PassDurations faster = unit;
  faster.overlapped = Time{25};
  const std::int64_t pairs = 64 * (kind == "interleaved" ? 2 : 1) - 32;  // at least, on each of 8 ranks
  const Time before = replay(order_of(kind, true, 8, 64), unit).makespan;
  const Time after = replay(order_of(kind, true, 8, 64), faster).makespan;
  CHECK(before - after >= Time{5 * pairs});
}

TEST_CASE("Overlapped 1F1B keeps at most 2 (p - r) microbatches alive on rank r") {
  const Order order = order_of("1f1b", true, 8, 64);
  for (std::int64_t r = 0; r < 8; ++r) {
    CHECK(peak_in_flight(order.ranks[static_cast<std::size_t>(r)]) == 2 * (8 - r));
  }
}
