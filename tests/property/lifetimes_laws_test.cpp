// Memory over time: what the programs of an order keep and let go, in the order in which a rank issues them,
// against what the closed form of an estimate knows of the order, over random scenarios.
#include <fmt/format.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <map>

#include "models/base/error.hpp"
#include "sim/estimate/estimate.hpp"
#include "sim/read/scenario.hpp"
#include "sim/report/lifetimes.hpp"
#include "sim/report/report.hpp"
#include "sim/scenario/layers.hpp"
#include "sim/schedule/stage.hpp"
#include "tests/support/drawn.hpp"

using namespace moesim;
using testing::Drawn;

namespace {

template <class T>
T one_of(RandomStream& random, std::initializer_list<T> choices) {
  return choices.begin()[random.below(choices.size())];
}

/// A drawn scenario as text, with recomputation, overlap and longer steps, and loads as asked.
std::string draw_text(std::uint64_t seed, const char* routing) {
  RandomStream random = Random(5).stream("lifetimes", seed);
  Drawn drawn = testing::draw(Random(6).stream("lifetimes", seed));
  drawn.routing = routing;
  drawn.schedule = one_of(
      random, {R"({"kind": "1f1b"})", R"({"kind": "gpipe"})", R"({"kind": "interleaved"})",
               R"({"kind": "interleaved", "overlap": true})", R"({"kind": "zb_h1"})", R"({"kind": "zb_h2"})",
               R"({"kind": "zb_v"})", R"({"kind": "v_half"})", R"({"kind": "v_min"})",
               R"({"kind": "zb_interleaved"})", R"({"kind": "looped_bfs"})", R"({"kind": "dualpipe"})",
               R"({"kind": "dualpipe"})", R"({"kind": "dualpipev"})", R"({"kind": "chimera"})"});
  drawn.batch = fmt::format(R"({{"sequences": {}, "sequence_length": 128}})",
                            drawn.devices * one_of<std::int64_t>(random, {1, 2, 4, 12}));
  drawn.resolution = one_of(random, {"folded", "full"});
  std::string text = drawn.text();
  text.insert(text.rfind('}'),
              fmt::format(R"(, "recompute": {})",
                          one_of(random, {R"("none")", R"("none")", R"("full")", R"("attention")",
                                          R"(["norm", "activation"])", R"("experts")"})));
  return text;
}

std::optional<Scenario> read(const std::string& text) {
  try {
    return read_scenario(load_document_text(text, MOESIM_SOURCE "/drawn.json"));
  } catch (const InputError&) {
    return std::nullopt;
  }
}

/// Calls `law` with the scenarios that fit and their texts.
template <class Law>
void for_scenarios(const char* routing, std::uint64_t count, Law law) {
  std::map<std::string, int> served;
  for (std::uint64_t seed = 0; seed < count; ++seed) {
    const std::string text = draw_text(seed, routing);
    const std::optional<Scenario> scenario = read(text);
    if (!scenario) continue;
    INFO(seed << ": " << text);
    law(*scenario, text);
    ++served[text.substr(text.find("\"schedule\""), 45)];
  }
  CHECK(served.size() >= 8);
}

/// What stages keep, as whole passes change it: the closed form of orders without pairs and without weight
/// gradients of their own.
Bytes of_whole_passes(const Work& work, std::int64_t rank) {
  const Scenario& scenario = work.scenario;
  const auto kept = [&](std::size_t stage) {
    Bytes sum;
    for (const std::int64_t layer : layers_of(scenario, stage)) {
      const LayerOps ops = ops_of_layer(scenario, static_cast<std::size_t>(layer));
      sum += ops.attention.activations + ops.feed_forward.activations;
    }
    if (stage == 0) sum += kept_by_embedding(scenario).for_backward;
    if (stage + 1 == scenario.layers_per_stage.size()) sum += kept_by_head(scenario).for_backward;
    return sum;
  };
  Bytes alive, most;
  for (const Slot& slot : work.order.ranks[static_cast<std::size_t>(rank)]) {
    const Bytes bytes = kept(stage_of(work.order, rank, slot));
    alive += slot.pass == Pass::forward ? bytes : Bytes{} - bytes;
    most = std::max(most, alive);
  }
  return most;
}

/// The most that these changes come to; they end where they began, and never below.
Bytes peak_of(const std::vector<HeldChange>& changes) {
  Bytes alive, peak, least;
  std::size_t slot = 0;
  bool is_in_order = true;
  for (const HeldChange& change : changes) {
    alive += change.bytes;
    peak = std::max(peak, alive);
    least = std::min(least, alive);
    is_in_order = is_in_order && change.slot + 1 >= slot;  // the order's own, but for the halves of a pair
    slot = change.slot;
  }
  CHECK(is_in_order);
  CHECK(alive == Bytes{});
  CHECK(least == Bytes{});
  return peak;
}

bool is_of_whole_passes(const Order& order) {
  for (const std::vector<Slot>& slots : order.ranks) {
    for (const Slot& slot : slots) {
      if (slot.overlapped || slot.pass == Pass::backward_weight) return false;
    }
  }
  return true;
}

}  // namespace

TEST_CASE(
    "An estimate's memory is that of a run, and its activations the peak of the programs, to the byte") {
  std::size_t extrapolated = 0;
  for_scenarios(R"({"kind": "balanced"})", 300, [&](const Scenario& scenario, const std::string& text) {
    CostTables tables(*read(text));
    const Division division{scenario.layout.sizes(), scenario.layout.placement()};
    const DivisionGroups groups = tables.groups(division);
    const MicrobatchCost cost =
        tables.cost(division, groups, scenario.batch.microbatch, {{}, scenario.recompute}, 0);
    const PipelineProfile profile =
        profile_of(*scenario.schedule, scenario.layout.sizes().pipeline, scenario.microbatches());
    PipelineEstimate estimate(tables, cost, profile,
                              stage_costs(cost, tables.kind_of_layer(), scenario.layers_per_stage));
    extrapolated += profile.order == 0 ? 1 : 0;
    const std::vector<MemoryReport> ranks = memory_of_ranks(work_of(scenario));
    for (std::size_t rank = 0; rank < ranks.size(); ++rank)
      CHECK(estimate.activations(rank) == static_cast<double>(ranks[rank].activations.count));
    Bytes most;
    for (const MemoryReport& rank : ranks) most = std::max(most, rank.total());
    CHECK(estimate.memory({scenario.gradient_sync, groups, {}}) == static_cast<double>(most.count));
  });
  CHECK(extrapolated > 10);
}

TEST_CASE(
    "What a step keeps it lets go, on every rank of every expert group, in between never less than nothing") {
  std::size_t several = 0;
  for (const char* routing :
       {R"({"kind": "balanced"})", R"({"kind": "top_k", "skew": {"kind": "zipf", "exponent": 0.5}})",
        R"({"kind": "top_k", "skew": {"kind": "dirichlet", "concentration": 2, "varies": "microbatch"}})"}) {
    for_scenarios(routing, 150, [&](const Scenario& scenario, const std::string&) {
      const Work work = work_of(scenario);
      const Lifetimes lifetimes(work);
      const std::int64_t groups = work.loads == nullptr ? 1 : work.loads->groups();
      several += groups > 1 ? 1 : 0;
      for (std::int64_t rank = 0; rank < scenario.layout.sizes().pipeline; ++rank) {
        const HeldMost most = lifetimes.most(rank);
        Bytes peak;
        for (std::int64_t group = 0; group < groups; ++group) {
          for (std::int64_t expert = 0; expert < scenario.layout.sizes().expert; ++expert) {
            const Bytes here = peak_of(lifetimes.changes(rank, {group, expert}));
            if (group == most.position.group && expert == most.position.rank) CHECK(here == most.bytes);
            peak = std::max(peak, here);
          }
        }
        CHECK(peak == most.bytes);
      }
    });
  }
  CHECK(several > 5);
}

TEST_CASE(
    "Where passes neither overlap nor leave weight gradients for later, the peak is that of whole passes") {
  std::size_t checked = 0;
  for_scenarios(R"({"kind": "balanced"})", 150, [&](const Scenario& scenario, const std::string&) {
    const Work work = work_of(scenario);
    if (!is_of_whole_passes(work.order)) return;
    ++checked;
    const std::vector<MemoryReport> ranks = memory_of_ranks(work);
    for (std::size_t rank = 0; rank < ranks.size(); ++rank)
      CHECK(ranks[rank].activations == of_whole_passes(work, static_cast<std::int64_t>(rank)));
  });
  CHECK(checked > 20);
}

TEST_CASE("In an overlapped pair a forward's layers come while a backward's go") {
  const Scenario scenario = load_scenario(MOESIM_SOURCE "/scenarios/deepseek-v3-h800.json");
  const Work work = work_of(scenario);
  const Lifetimes lifetimes(work);
  for (const std::int64_t rank : {0, 7}) {
    const std::vector<Slot>& slots = work.order.ranks[static_cast<std::size_t>(rank)];
    std::size_t turns = 0, last = 0;
    for (const HeldChange& change : lifetimes.changes(rank, {})) {
      if (last > 0 && change.slot + 1 == last && slots[change.slot].overlapped) ++turns;
      last = change.slot;
    }
    CHECK(turns > 0);
  }
}
