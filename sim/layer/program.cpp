// Forward: attention, dispatch, experts, combine. Backward: the same from the end, each exchange reversed.
// Communication holds up the pass that issues it, but for what a lane of its own says.
#include "sim/layer/program.hpp"

#include <algorithm>
#include <utility>

#include "models/base/at.hpp"
#include "sim/layer/act_list.hpp"

namespace moesim {
namespace {

/// Lanes beside the main one.
constexpr Lane first_lane = 1, second_lane = 2, third_lane = 3;

/// A layer is computed again before the first act of its backward.
void keep_again(Program& program) {
  std::vector<KeptBlock> again;
  for (const KeptBlock& block : program.kept)
    again.push_back({program.acts.front().segment, block.block, 0, true});
  program.kept.insert(program.kept.begin(), again.begin(), again.end());
}

/// Adds the acts of one pass in their order.
class Maker : private ActList {
 public:
  explicit Maker(const LayerForm& form, bool is_woven = false) : form_(form), is_woven_(is_woven) {}

  Program forward() {
    begin(Segment::attention);
    needs(Activity::attention, OpPass::forward);
    attention(OpPass::forward);
    copies(ActKind::leaves, Activity::attention, OpPass::forward);
    begin(Segment::dispatch);
    if (shared_beside()) shared_experts(OpPass::forward);
    exchange(Activity::dispatch, OpPass::forward);
    begin(Segment::feed_forward);
    feed_forward(OpPass::forward);
    copies(ActKind::leaves, Activity::feed_forward, OpPass::forward);
    begin(Segment::combine);
    exchange(Activity::combine, OpPass::forward);
    return take(Pass::forward);
  }

  /// Of both gradients, or of the input's alone.
  Program backward(bool weights_too) {
    begin(Segment::combine);
    again();
    if (shared_beside()) shared_experts(OpPass::backward_input);
    shared_weights_are_done_ = shared_beside() && weights_too;
    if (shared_weights_are_done_) shared_experts(OpPass::backward_weight);
    exchange(Activity::combine_backward, OpPass::backward_input);
    begin(Segment::feed_forward);
    if (form_.norm_first) copies(ActKind::returns, Activity::attention, OpPass::backward_input);
    copies(ActKind::returns, Activity::feed_forward, OpPass::backward_input);
    feed_forward_backward(weights_too);
    if (delays_weights()) {
      begin(Segment::feed_forward_weight);
      if (weights_too) weight(Activity::feed_forward, form_.divides_feed_forward ? 1 : 0);
    }
    copies(ActKind::lets_go, Activity::feed_forward, OpPass::backward_input);
    begin(Segment::dispatch);
    exchange(Activity::dispatch_backward, OpPass::backward_input);
    begin(Segment::attention);
    if (!form_.norm_first) copies(ActKind::returns, Activity::attention, OpPass::backward_input);
    const bool beside = weights_too && overlaps_tensor() && !form_.divides_sequences;
    if (beside) gradients_beside_calls(Activity::attention);
    if (!beside) attention(OpPass::backward_input);
    if (delays_weights()) begin(Segment::attention_weight);
    if (weights_too && !beside) weight(Activity::attention, form_.divides_layers ? 1 : 0);
    copies(ActKind::lets_go, Activity::attention, OpPass::backward_input);
    Program program = take(weights_too ? Pass::backward : Pass::backward_input);
    if (form_.again) keep_again(program);
    return program;
  }

  Program backward_weight() {
    begin(Segment::feed_forward_weight);
    weight(Activity::feed_forward, form_.divides_feed_forward ? 1 : 0);
    begin(Segment::attention_weight);
    weight(Activity::attention, form_.divides_layers ? 1 : 0);
    return take(Pass::backward_weight);
  }

  Program embedding(Pass pass) {
    begin(Segment::attention);
    if (pass != Pass::backward_weight) needs(Activity::embedding, pass_of(pass));
    if (pass == Pass::forward) {
      compute(Activity::embedding, OpPass::forward);
      reduce_layer(OpPass::forward);
    } else if (pass != Pass::backward_input) {
      gather_layer(OpPass::backward_weight);
      weight(Activity::embedding, 0);
    }
    return take(pass);
  }

  Program head(Pass pass) {
    begin(Segment::attention);
    if (pass != Pass::backward_weight) needs(Activity::head, pass_of(pass));
    if (pass == Pass::forward) {
      for (std::int64_t i = 0; i < form_.heads; ++i) gather_layer(OpPass::forward);
      compute(Activity::head, OpPass::forward);
      for (std::int64_t i = 1; i < form_.heads; ++i) reduce_layer(OpPass::forward);  // their embeddings
      return take(pass);
    }
    if (pass != Pass::backward_weight) {
      compute(Activity::head, OpPass::backward_input);
      for (std::int64_t i = 0; i < form_.heads; ++i) reduce_layer(OpPass::backward_input);
      for (std::int64_t i = 1; i < form_.heads; ++i) gather_layer(OpPass::backward_input);
    }
    if (pass != Pass::backward_input) weight(Activity::head, form_.divides_layers ? form_.heads : 0);
    return take(pass);
  }

 private:
  static OpPass pass_of(Pass pass) {
    return pass == Pass::forward ? OpPass::forward : OpPass::backward_input;
  }

  /// Behind the weight gradients of the block where these are on a lane of their own.
  void copies(ActKind kind, Activity block, OpPass pass) {
    if (!(block == Activity::attention ? form_.offloads_attention : form_.offloads_feed_forward)) return;
    Act& act = add({.kind = kind, .activity = block, .pass = pass});
    if (kind == ActKind::lets_go && delays_weights()) act.behind = act.lane = first_lane;
  }

  void exchange(Activity activity, OpPass pass) {
    if (!form_.exchanges) return;
    const Operation gathers = is_outward(activity) ? Operation::all_gather : Operation::reduce_scatter;
    call(activity, pass, form_.gathers_tokens ? gathers : Operation::all_to_all);
  }

  /// With parts of the tokens on each rank a sum is left in parts, else on every rank.
  Operation sum() const { return form_.divides_tokens ? Operation::reduce_scatter : Operation::all_reduce; }
  /// Before a block that a tensor-parallel group shares: inputs are gathered, or whole already.
  void gather_layer(OpPass pass) {
    if (form_.divides_layers && form_.divides_tokens) call(Activity::tensor, pass, Operation::all_gather);
  }
  /// After it: each rank has a part of every sum.
  void reduce_layer(OpPass pass) {
    if (form_.divides_layers) call(Activity::tensor, pass, sum());
  }
  /// The same for experts whose matrices are shared, around their computation.
  void gather_experts(OpPass pass) {
    if (form_.divides_experts && form_.divides_tokens)
      call(Activity::expert_tensor, pass, Operation::all_gather);
  }
  void reduce_experts(OpPass pass) {
    if (form_.divides_experts) call(Activity::expert_tensor, pass, sum());
  }

  void attention(OpPass pass) { shared_block(Activity::attention, pass); }

  const std::vector<FormPiece>& pieces_of(Activity block, OpPass pass) const {
    return at(block == Activity::attention ? form_.pieces : form_.feed_forward_pieces, pass);
  }
  static bool has(const std::vector<FormPiece>& pieces, TensorCall beside) {
    return std::any_of(pieces.begin(), pieces.end(),
                       [&](const FormPiece& piece) { return piece.tensor_call == beside; });
  }

  /// A block, and what a tensor-parallel group sends before and behind it, or beside parts of its products.
  void shared_block(Activity block, OpPass pass) {
    const std::vector<FormPiece>& pieces = pieces_of(block, pass);
    if (!has(pieces, TensorCall::before)) gather_layer(pass);
    if (pieces.empty()) compute(block, pass);
    for (std::size_t i = 0; i < pieces.size(); ++i) piece(block, i, pass);
    if (!has(pieces, TensorCall::behind)) reduce_layer(pass);
  }

  void piece(Activity block, std::size_t index, OpPass pass) {
    const FormPiece& piece = pieces_of(block, pass)[index];
    const auto number = static_cast<std::int16_t>(index);
    if (piece.tensor_call == TensorCall::before) return product_beside_gather(piece, number, block, pass);
    if (piece.tensor_call == TensorCall::behind) return product_beside_sum(piece, number, block, pass);
    if (!piece.is_core) {
      compute(block, pass).piece = number;
    } else if (!piece.ring.empty()) {
      core_in_ring(piece, number, pass);
    } else {
      core_between_gathers(piece, number, pass);
    }
  }

  Act& part(Activity block, OpPass pass, std::int16_t number, std::int16_t first, std::int16_t count) {
    Act& act = compute(block, pass);
    act.piece = number;
    act.first_block = first;
    act.blocks = count;
    act.parts = at(pieces_of(block, pass), number).parts;
    return act;
  }

  /// Rows come from rank to rank while those that are here are multiplied: what all but the last part takes
  /// goes beside the whole gather (method ring_exchange of Transformer Engine).
  void product_beside_gather(const FormPiece& piece, std::int16_t number, Activity block, OpPass pass) {
    const auto most = static_cast<std::int16_t>(piece.parts - 1);
    part(block, pass, number, 0, most).lane = first_lane;
    Act& gather = call(Activity::tensor, pass, Operation::all_gather);
    gather.blocks = gather.parts = piece.parts;
    gather.lane = second_lane;
    join(first_lane, second_lane);
    part(block, pass, number, most, 1);
  }

  /// Each part's results are added up over the ranks while the next one is computed (method pipeline).
  void product_beside_sum(const FormPiece& piece, std::int16_t number, Activity block, OpPass pass) {
    const auto most = static_cast<std::int16_t>(piece.parts - 1);
    const auto sum_of = [&](std::int16_t parts, Lane lane) {
      Act& act = call(Activity::tensor, pass, sum());
      act.blocks = parts;
      act.parts = piece.parts;
      act.lane = lane;
    };
    part(block, pass, number, 0, 1);
    part(block, pass, number, 1, most).lane = first_lane;
    sum_of(most, second_lane);
    join(first_lane, second_lane);
    sum_of(1, main_lane);
  }

  /// Keys and values of all context ranks come first. In backward they come again, and their gradients go
  /// home.
  void core_between_gathers(const FormPiece& core, std::int16_t number, OpPass pass) {
    call(Activity::context, pass, Operation::all_gather).piece = number;
    compute(Activity::attention, pass).piece = number;
    if (core.backward) call(Activity::context, pass, Operation::reduce_scatter).piece = number;
  }

  /// Each block of keys and values is attended to while the next one comes.
  void core_in_ring(const FormPiece& core, std::int16_t number, OpPass pass) {
    for (const RingRow& row : core.ring) {
      const auto of_row = [&](Act& act, Lane lane) {
        act.piece = number;
        act.first_block = row.first_block;
        act.blocks = row.blocks;
        act.sends = row.sends;
        act.lane = lane;
      };
      const bool sends = row.sends > 0;
      of_row(compute(Activity::attention, pass), sends ? first_lane : main_lane);
      if (!sends) continue;
      of_row(call(Activity::context, pass, Operation::point_to_point), second_lane);
      join(first_lane, second_lane);
    }
  }

  /// In an overlapped pair they stay with the other experts.
  bool shared_beside() const { return form_.shared_beside && !is_woven_; }
  /// On a lane of their own, behind what came before the exchange.
  void shared_experts(OpPass pass) {
    Act& act = compute(Activity::feed_forward, pass);
    act.piece = shared_experts_piece;
    act.behind = pass == OpPass::backward_weight ? first_lane : main_lane;
    act.lane = first_lane;
  }

  void feed_forward(OpPass pass) {
    if (!pieces_of(Activity::feed_forward, pass).empty()) return shared_block(Activity::feed_forward, pass);
    gather_experts(pass);
    if (form_.divides_feed_forward) gather_layer(pass);
    Act& act = compute(Activity::feed_forward, pass);
    if (shared_beside()) {
      act.piece = other_experts_piece;
      act.also_behind = first_lane;
    }
    if (form_.divides_feed_forward) reduce_layer(pass);
    reduce_experts(pass);
  }

  void feed_forward_backward(bool weights_too) {
    if (weights_too && form_.divides_feed_forward && overlaps_tensor()) {
      gather_experts(OpPass::backward_input);
      gradients_beside_calls(Activity::feed_forward);
      return reduce_experts(OpPass::backward_input);
    }
    feed_forward(OpPass::backward_input);
    if (weights_too && !delays_weights()) weight(Activity::feed_forward, form_.divides_feed_forward ? 1 : 0);
  }

  /// What recomputation sends once more, besides keys and values, before the gradient of the combine.
  void again() {
    needs(Activity::attention, OpPass::backward_input);
    const auto shared = [&] {
      gather_layer(OpPass::forward);
      reduce_layer(OpPass::forward);
    };
    if (form_.again) shared();
    if (form_.feed_forward_again && form_.divides_feed_forward) shared();
    if (!form_.experts_again) return;
    exchange(Activity::dispatch, OpPass::backward_input);
    gather_experts(OpPass::forward);
    if (!form_.results_again) return;
    reduce_experts(OpPass::forward);
    exchange(Activity::combine, OpPass::backward_input);
  }

  /// Beside another pass the communication stream has its own order.
  bool overlaps_tensor() const { return form_.overlaps_tensor && !is_woven_; }

  /// The gradient of what the block gave is gathered, before all or beside the first of its products: then
  /// that and what is before it has been computed. The piece that is left, or none: all of it.
  std::size_t gradients_beside_gather(Activity block) {
    const std::vector<FormPiece>& pieces = pieces_of(block, OpPass::backward_input);
    if (pieces.empty()) {
      gather_layer(OpPass::backward_input);
      return 0;
    }
    for (std::size_t i = 0; i + 1 < pieces.size(); ++i) piece(block, i, OpPass::backward_input);
    return pieces.size() - 1;
  }

  /// Both gradients of a block that a tensor-parallel group shares: what it read is gathered once more beside
  /// the first, and the sum of the first is under way beside the second (Korthikanti et al., arXiv
  /// 2205.05198, section 4.2.2).
  void gradients_beside_calls(Activity block) {
    const std::size_t rest = gradients_beside_gather(block);
    const bool gathers = form_.gathers_again;
    if (gathers) call(Activity::tensor, OpPass::backward_input, Operation::all_gather).lane = first_lane;
    Act& inputs = compute(block, OpPass::backward_input);
    inputs.lane = second_lane;
    if (rest > 0) inputs.piece = static_cast<std::int16_t>(rest);
    Act& reduces = call(Activity::tensor, OpPass::backward_input, sum());
    reduces.behind = second_lane;
    reduces.lane = third_lane;
    Act& weights = compute(block, OpPass::backward_weight);
    weights.behind = second_lane;
    weights.also_behind = gathers ? first_lane : no_lane;
    add({.kind = ActKind::produces, .activity = block, .pass = OpPass::backward_weight});
    join(main_lane, third_lane);
  }

  /// Whether nothing else of a backward waits for gradients of weights: in an overlapped pair, where software
  /// has them apart.
  bool delays_weights() const { return is_woven_ && !form_.weights_in_turn; }

  /// A weight gradient, after so many inputs of which each rank kept its part only with sequence parallelism.
  void weight(Activity block, std::int64_t inputs) {
    const Lane lane = delays_weights() ? first_lane : main_lane;
    Lane behind = main_lane;
    const auto place = [&](Act& act) {
      act.behind = std::exchange(behind, lane);
      act.lane = lane;
    };
    for (std::int64_t i = 0; i < inputs && form_.gathers_again; ++i)
      place(call(Activity::tensor, OpPass::backward_weight, Operation::all_gather));
    Act& weights = compute(block, OpPass::backward_weight);
    if (block == Activity::feed_forward && shared_weights_are_done_) weights.piece = other_experts_piece;
    place(weights);
    add({.kind = ActKind::produces, .activity = block, .pass = OpPass::backward_weight});
  }

  const LayerForm& form_;
  bool is_woven_;
  bool shared_weights_are_done_ = false;  // of this pass
};

}  // namespace

Programs programs_of_layer(const LayerForm& form) {
  return {.alone = {Maker(form).forward(), Maker(form).backward(true), Maker(form).backward(false),
                    Maker(form).backward_weight()},
          .woven_forward = Maker(form, true).forward(),
          .woven_backward = Maker(form, true).backward(true)};
}

namespace {

/// Of an end of the model.
Programs programs_of_end(const LayerForm& form, Program (Maker::*make)(Pass)) {
  Programs programs;
  for (const Pass pass : {Pass::forward, Pass::backward, Pass::backward_input, Pass::backward_weight})
    at(programs.alone, pass) = (Maker(form).*make)(pass);
  programs.woven_forward = (Maker(form, true).*make)(Pass::forward);
  programs.woven_backward = (Maker(form, true).*make)(Pass::backward);
  return programs;
}

}  // namespace

Programs programs_of_embedding(const LayerForm& form) { return programs_of_end(form, &Maker::embedding); }

Programs programs_of_head(const LayerForm& form) { return programs_of_end(form, &Maker::head); }

}  // namespace moesim
