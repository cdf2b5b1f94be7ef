// Who waits for whom in an order, and which stages a rank holds.
#include "sim/schedule/stage.hpp"

#include <catch2/catch.hpp>
#include <map>
#include <set>
#include <tuple>

#include "tests/support/orders.hpp"

using namespace moesim;
using testing::schedule_of;

namespace {

using Made = std::tuple<bool, std::size_t, std::int32_t>;

Order order_of(const char* kind) { return schedule_of(kind)->order({.ranks = 4, .microbatches = 8}); }

}  // namespace

TEST_CASE("A pass waits for the stage before it on its way, and the last stage turns round by itself") {
  const Order order = empty_order({.ranks = 3, .microbatches = 2}, straight_chains(3));
  const auto need = [&](std::int64_t rank, Pass pass) {
    return needs_of(order, rank, {.pass = pass, .microbatch = 1});
  };
  CHECK_FALSE(need(0, Pass::forward));
  CHECK(need(1, Pass::forward)->from_stage == 0);
  CHECK(need(1, Pass::forward)->to_stage == 1);
  CHECK(need(1, Pass::forward)->crosses_ranks());
  CHECK_FALSE(need(1, Pass::forward)->is_gradient());
  CHECK(need(1, Pass::backward)->from_stage == 2);
  CHECK(need(1, Pass::backward)->from.rank == 2);
  CHECK(need(1, Pass::backward_input)->is_gradient());
  CHECK(need(2, Pass::backward)->from_stage == 2);
  CHECK_FALSE(need(2, Pass::backward)->is_gradient());
  CHECK_FALSE(need(2, Pass::backward)->crosses_stages());
  CHECK(need(0, Pass::backward_weight)->from_stage == 0);
  CHECK(need(0, Pass::backward_weight)->is_gradient());
  CHECK(need(1, Pass::backward_weight)->microbatch == 1);
}

TEST_CASE("At the turn of a V a stage hands over to another stage of its own rank") {
  const Order order = empty_order({.ranks = 3, .microbatches = 1}, v_chains(3));
  const std::optional<Need> need = needs_of(order, 2, {.pass = Pass::forward, .chunk = 1, .microbatch = 0});
  REQUIRE(need);
  CHECK(need->crosses_stages());
  CHECK_FALSE(need->crosses_ranks());
  CHECK(need->from.chunk == 0);
}

TEST_CASE("Whatever a pass waits for is made once in the order, and each need of a stage is served once") {
  for (const Entry<Schedule>* member : schedules()) {
    INFO(member->name);
    const Order order = order_of(std::string(member->name).c_str());
    std::multiset<Made> made, served;
    std::vector<Need> needs;
    const StageTable table(order);
    for (std::size_t r = 0; r < order.ranks.size(); ++r) {
      const auto rank = static_cast<std::int64_t>(r);
      for (const Slot& slot : order.ranks[r]) {
        REQUIRE(table.stage_of(r, slot) == stage_of(order, rank, slot));
        if (slot.pass != Pass::backward_weight)
          made.insert({slot.pass != Pass::forward, stage_of(order, rank, slot), slot.microbatch});
        if (const auto need = needs_of(order, rank, slot)) needs.push_back(*need);
        if (const auto need = served_by(order, rank, slot))
          served.insert({need->is_gradient(), need->to_stage, need->microbatch});
      }
    }
    std::size_t of_other_stages = 0;
    for (const Need& need : needs) {
      REQUIRE(made.count({need.is_gradient(), need.from_stage, need.microbatch}) == 1);
      if (!need.crosses_stages()) continue;
      ++of_other_stages;
      REQUIRE(served.count({need.is_gradient(), need.to_stage, need.microbatch}) == 1);
    }
    CHECK(served.size() == of_other_stages);
    CHECK(of_other_stages == static_cast<std::size_t>(2 * order.microbatches() * (order.model_stages() - 1)));
  }
}

TEST_CASE("The ranks of a pipeline hold each stage once, those of a dual one twice") {
  for (const Entry<Schedule>* member : schedules()) {
    INFO(member->name);
    const Order order = order_of(std::string(member->name).c_str());
    std::map<std::size_t, std::size_t> holders;
    for (std::int64_t rank = 0; rank < 4; ++rank) {
      for (const HeldStage& held : stages_of(order.chains, rank)) {
        ++holders[held.stage];
        CHECK(held.is_first == (held.stage == 0));
        CHECK(held.is_last == (held.stage + 1 == static_cast<std::size_t>(order.model_stages())));
      }
    }
    CHECK(holders.size() == static_cast<std::size_t>(order.model_stages()));
    for (const auto& [stage, times] : holders) CHECK(times == order.chains.size());
  }
  const std::vector<HeldStage> held = stages_of(v_chains(3), 0);
  REQUIRE(held.size() == 2);
  CHECK(held[0].stage == 0);
  CHECK(held[1].stage == 5);
  CHECK(held[1].chunk == 1);
}
