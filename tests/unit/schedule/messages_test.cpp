// Messages between stages, one after the other.
#include <catch2/catch.hpp>
#include <set>

#include "sim/run/simulate.hpp"
#include "sim/schedule/messages.hpp"
#include "sim/schedule/schedule.hpp"
#include "tests/support/gradients.hpp"
#include "tests/support/orders.hpp"

using namespace moesim;
using namespace moesim::testing;

namespace {

constexpr const char* kinds[] = {"1f1b", "gpipe", "interleaved", "zb_h1", "zb_v", "dualpipev", "dualpipe"};

Order order_of(const std::string& kind) {
  return schedule_of(R"({"kind": ")" + kind + R"("})")
      ->order({.ranks = 4,
               .microbatches = 16,
               .forward = Time{5},
               .backward_input = Time{6},
               .backward_weight = Time{4},
               .send = {}});
}

}  // namespace

TEST_CASE("In turn each message between ranks goes once, behind no slot that waits for it") {
  const std::string kind = GENERATE(from_range(std::begin(kinds), std::end(kinds)));
  CAPTURE(kind);
  const Order order = order_of(kind);
  std::size_t needed = 0;
  for (std::size_t rank = 0; rank < order.ranks.size(); ++rank) {
    for (const Slot& slot : order.ranks[rank]) {
      const auto need = needs_of(order, static_cast<std::int64_t>(rank), slot);
      needed += need && need->crosses_ranks() ? 1 : 0;
    }
  }
  const std::vector<StageMessage> messages = messages_in_turn(order);
  CHECK(messages.size() == needed);
  for (const StageMessage& message : messages) {
    const std::vector<Slot>& slots = at(order.ranks, message.need.to.rank);
    const auto waits = std::find_if(slots.begin(), slots.end(), [&](const Slot& slot) {
      const auto need = needs_of(order, message.need.to.rank, slot);
      return need && need->crosses_ranks() && need->microbatch == message.need.microbatch &&
             need->is_gradient() == message.need.is_gradient() && need->to_stage == message.need.to_stage;
    });
    REQUIRE(waits != slots.end());
    CHECK(message.received_behind <= static_cast<std::size_t>(waits - slots.begin()));
  }
}

TEST_CASE("Messages in turn hold a pipeline up, and all of its work is done") {
  const std::string kind = GENERATE("1f1b", "gpipe", "interleaved", "zb_h1", "dualpipev");
  CAPTURE(kind);
  const auto run = [&](const std::string& messages) {
    return simulate(scenario_of({.pipeline = 4,
                                 .expert = 2,
                                 .sequences = 64,
                                 .schedule = R"({"kind": ")" + kind + R"("})",
                                 .collectives = R"({"stage_messages": ")" + messages + R"("})"}))
        .report;
  };
  const Report free = run("free"), in_turn = run("in_turn");
  CHECK(to_seconds(in_turn.step_time) > 0.998 * to_seconds(free.step_time));  // fewer share links
  CHECK(in_turn.breakdown.compute == free.breakdown.compute);
  if (kind == "interleaved") CHECK(in_turn.step_time > free.step_time);
}
