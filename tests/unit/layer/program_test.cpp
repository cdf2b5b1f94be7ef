// Programs of single layers and the weave of two, written out by hand.
#include <fmt/format.h>

#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "sim/layer/issue.hpp"
#include "sim/layer/program.hpp"

using namespace moesim;

namespace {

using Words = std::vector<std::string>;

/// "attention F", "combine all_to_all", "produces attention".
std::string told(const Act& act) {
  constexpr std::array<std::string_view, 3> passes{"F", "B", "W"};
  const std::string_view of = name_of(act.activity);
  switch (act.kind) {
    case ActKind::compute:
      return fmt::format("{} {}", of, at(passes, act.pass));
    case ActKind::call:
      return fmt::format("{} {}", of, at(operation_names, act.operation));
    case ActKind::join:
      return "join";
    case ActKind::needs:
      return fmt::format("needs {}", of);
    case ActKind::produces:
      return fmt::format("produces {}", of);
    case ActKind::leaves:
      return fmt::format("{} leaves", of);
    case ActKind::returns:
      return fmt::format("{} returns", of);
    case ActKind::lets_go:
      return fmt::format("{} lets go", of);
  }
  return "";
}

Words told(std::span<const Act> acts) {
  Words words;
  for (const Act& act : acts) words.push_back(told(act));
  return words;
}

/// What a pair issues: only computations, or only calls.
Words issued(const Programs& programs, const StageContent& forward, const StageContent& backward,
             ActKind kind) {
  Words words;
  visit_issued_by_pair(forward, backward, [&](const Issued& next) {
    if (next.end != Activity::none) return;
    for (const Act& act : programs.of_pair(next.is_backward).of(next.segment)) {
      if (act.kind == kind) words.push_back(told(act));
    }
  });
  return words;
}

constexpr StageContent one_layer{.first_layer = 0, .layers = 1};

}  // namespace

TEST_CASE("A dense layer by itself computes two blocks, backward from the last, each with its weights") {
  const Programs programs = programs_of_layer({});
  CHECK(told(programs.of(Pass::forward).acts) == Words{"needs attention", "attention F", "feed_forward F"});
  CHECK(told(programs.of(Pass::backward).acts) == Words{"needs attention", "feed_forward B", "feed_forward W",
                                                        "produces feed_forward", "attention B", "attention W",
                                                        "produces attention"});
  CHECK(told(programs.of(Pass::backward_input).acts) ==
        Words{"needs attention", "feed_forward B", "attention B"});
  CHECK(told(programs.of(Pass::backward_weight).acts) ==
        Words{"feed_forward W", "produces feed_forward", "attention W", "produces attention"});
}

TEST_CASE("A layer with experts elsewhere exchanges tokens before and after them, gradients the other way") {
  const Programs programs = programs_of_layer({.exchanges = true});
  CHECK(told(programs.of(Pass::forward).acts) == Words{"needs attention", "attention F",
                                                       "dispatch all_to_all", "feed_forward F",
                                                       "combine all_to_all"});
  CHECK(told(programs.of(Pass::backward_input).acts) == Words{"needs attention",
                                                              "combine_backward all_to_all", "feed_forward B",
                                                              "dispatch_backward all_to_all", "attention B"});
}

TEST_CASE("Shared experts beside an exchange come before it on a lane, and the others wait for both") {
  const Programs programs = programs_of_layer({.exchanges = true, .shared_beside = true});
  const std::vector<Act>& forward = programs.of(Pass::forward).acts;
  CHECK(told(forward) == Words{"needs attention", "attention F", "feed_forward F", "dispatch all_to_all",
                               "feed_forward F", "combine all_to_all"});
  CHECK(forward[2].piece == shared_experts_piece);
  CHECK(forward[2].lane != main_lane);
  CHECK(forward[3].lane == main_lane);
  CHECK(forward[4].piece == other_experts_piece);
  CHECK(forward[4].also_behind == forward[2].lane);
  const std::vector<Act>& backward = programs.of(Pass::backward).acts;
  CHECK(told(backward) == Words{"needs attention", "feed_forward B", "feed_forward W",
                                "combine_backward all_to_all", "feed_forward B", "feed_forward W",
                                "produces feed_forward", "dispatch_backward all_to_all", "attention B",
                                "attention W", "produces attention"});
  CHECK(told(programs.of(Pass::backward_weight).acts) ==
        Words{"feed_forward W", "produces feed_forward", "attention W", "produces attention"});
  CHECK(programs.of(Pass::backward_weight).acts.front().piece == -1);
  for (const Act& act : programs.woven_forward.acts) CHECK(act.piece == -1);
}

TEST_CASE("Experts that are computed again get their tokens once more") {
  const Programs programs = programs_of_layer({.exchanges = true, .experts_again = true});
  const std::vector<Act>& acts = programs.of(Pass::backward_input).acts;
  CHECK(told(std::span(acts).first(3)) ==
        Words{"needs attention", "dispatch all_to_all", "combine_backward all_to_all"});
}

TEST_CASE("A tensor-parallel group gathers tokens before a block and sums parts after it") {
  const Programs programs =
      programs_of_layer({.divides_layers = true, .divides_feed_forward = true, .divides_tokens = true});
  CHECK(told(programs.of(Pass::forward).acts) == Words{"needs attention", "tensor all_gather", "attention F",
                                                       "tensor reduce_scatter", "tensor all_gather",
                                                       "feed_forward F", "tensor reduce_scatter"});
}

TEST_CASE("A block begins to be kept with its first act, and goes with its last") {
  const Programs programs = programs_of_layer({.exchanges = true});
  const auto kept = [](const Program& program) {
    Words words;
    for (const KeptBlock& block : program.kept)
      words.push_back(fmt::format("{} {}", name_of(block.block), block.act));
    return words;
  };
  CHECK(kept(programs.of(Pass::forward)) == Words{"attention 1", "feed_forward 3"});
  CHECK(kept(programs.of(Pass::backward_input)) == Words{"feed_forward 2", "attention 4"});
}

TEST_CASE("A pair computes and communicates in the order of the DeepSeek-V3 report's figure 4") {
  const Programs programs = programs_of_layer({.exchanges = true});
  CHECK(issued(programs, one_layer, one_layer, ActKind::compute) == Words{"attention F", "feed_forward B",
                                                                          "feed_forward W", "feed_forward F",
                                                                          "attention B", "attention W"});
  CHECK(issued(programs, one_layer, one_layer, ActKind::call) ==
        Words{"combine_backward all_to_all", "dispatch all_to_all", "dispatch_backward all_to_all",
              "combine all_to_all"});
}

TEST_CASE("A pair is issued as Megatron-Core does: behind the wait of a dispatch come gradients of weights") {
  const Programs programs = programs_of_layer({.exchanges = true});
  Words words;
  visit_issued_by_pair(one_layer, one_layer, [&](const Issued& next) {
    for (const Act& act : programs.of_pair(next.is_backward).of(next.segment)) {
      if (act.kind == ActKind::compute || act.kind == ActKind::call) words.push_back(told(act));
    }
  });
  CHECK(words == Words{"combine_backward all_to_all", "attention F", "feed_forward B", "dispatch all_to_all",
                       "feed_forward W", "dispatch_backward all_to_all", "feed_forward F",
                       "combine all_to_all", "attention B", "attention W"});
}

TEST_CASE("Where gradients of weights are not apart a backward in a pair goes on behind them") {
  const Programs apart = programs_of_layer({.exchanges = true});
  const Programs in_turn = programs_of_layer({.exchanges = true, .weights_in_turn = true});
  CHECK(issued(in_turn, one_layer, one_layer, ActKind::compute) ==
        issued(apart, one_layer, one_layer, ActKind::compute));
  const auto lane_of_weights = [](const Program& program) {
    std::vector<Lane> lanes;
    for (const Act& act : program.acts) {
      if (act.kind == ActKind::compute && act.pass == OpPass::backward_weight) lanes.push_back(act.lane);
    }
    return lanes;
  };
  CHECK(lane_of_weights(in_turn.woven_backward) == std::vector<Lane>{main_lane, main_lane});
  for (const Lane lane : lane_of_weights(apart.woven_backward)) CHECK(lane != main_lane);
  CHECK(in_turn.woven_backward.of(Segment::feed_forward_weight).empty());
  CHECK(told(in_turn.of(Pass::backward).acts) == told(apart.of(Pass::backward).acts));
}

TEST_CASE("Layers of a pair that have no partner left are issued alone") {
  const Programs programs = programs_of_layer({});
  const StageContent two{.first_layer = 0, .layers = 2};
  CHECK(issued(programs, two, one_layer, ActKind::compute) ==
        Words{"attention F", "feed_forward B", "feed_forward W", "feed_forward F", "attention B",
              "attention W", "attention F", "feed_forward F"});
  CHECK(issued(programs, one_layer, two, ActKind::compute) ==
        Words{"attention F", "feed_forward B", "feed_forward W", "feed_forward F", "attention B",
              "attention W", "feed_forward B", "feed_forward W", "attention B", "attention W"});
}

TEST_CASE("Ends of the model stand before and after the layers of their passes") {
  const StageContent first{.layers = 1, .has_embedding = true}, last{.layers = 1, .has_head = true};
  const auto ends = [](const std::vector<Issued>& issued) {
    Words words;
    for (const Issued& next : issued) words.emplace_back(name_of(next.end));
    return words;
  };
  CHECK(ends(issued_by(first, Pass::forward)) == Words{"embedding", "none"});
  CHECK(ends(issued_by(first, Pass::backward)) == Words{"none", "embedding"});
  CHECK(ends(issued_by(last, Pass::backward)) == Words{"head", "none"});
  const std::vector<Issued> pair = issued_by_pair(first, last);
  CHECK(pair.size() == 2 + pair_weave.size());
  CHECK(pair[0].end == Activity::embedding);
  CHECK(pair[1].end == Activity::head);
}
