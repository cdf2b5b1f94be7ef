// Forward: [embedding] (attention, dispatch, experts, combine) per layer [head]. Backward: the same from the
// end, each exchange reversed. Communication blocks the pass that issues it.
#include "sim/lower/passes.hpp"

#include <algorithm>

#include "sim/schedule/stage.hpp"
#include "sim/work/share.hpp"

namespace moesim {
namespace {

/// One pass of one actor: its place in the model and the tags of its tasks.
class PassLowering {
 public:
  PassLowering(Step& step, Synchronisation& sync, ActorId actor, const Slot& slot)
      : step_(step), sync_(sync), actor_(actor), slot_(slot) {
    const ActorPlace& place = step.communicators().actors()[actor];
    const Order& order = step.scenario().order;
    stage_ = static_cast<std::int64_t>(stage_of(order, place.pipeline_rank, slot));
    last_stage_ = static_cast<std::int64_t>(chain_of(order, slot).size()) - 1;
    first_layer_ = step.scenario().first_layer(stage_);
    end_layer_ = first_layer_ + step.scenario().layers_per_stage[static_cast<std::size_t>(stage_)];
    position_ = place.position;
    tag_.microbatch = slot.microbatch;
    tag_.stage = static_cast<std::int16_t>(place.pipeline_rank);
    tag_.chunk = static_cast<std::int8_t>(slot.chunk);
  }

  void forward() {
    wait(false);
    begin_forward();
    for (std::int64_t i = 0; i < layers(); ++i) {
      attention_forward(i);
      exchange(layer_of_forward(i), Work::dispatch);
      feed_forward_forward(i);
      exchange(layer_of_forward(i), Work::combine);
    }
    end_forward();
    send(false);
  }

  void backward(bool weights_too) {
    wait(true);
    begin_backward(weights_too);
    for (std::int64_t i = 0; i < layers(); ++i) {
      combine_backward(i);
      feed_forward_backward(i, weights_too);
      exchange(layer_of_backward(i), Work::dispatch_backward);
      attention_backward(i, weights_too);
    }
    end_backward(weights_too);
    send(true);
  }

  void backward_weight() {
    if (is_last()) weight(step_.times().head(), Work::head, -1);
    for (std::int64_t i = 0; i < layers(); ++i) {
      weight(feed_forward_of(layer_of_backward(i)), Work::feed_forward, layer_of_backward(i));
      attention_weight(i);
    }
    if (stage_ == 0) embedding_weight();
    end_weights();
  }

  /// This forward and that backward share the device, layer slot by layer slot, as figure 4 of the
  /// DeepSeek-V3 report (arXiv 2412.19437) and its published trace have it: compute in the order attention F,
  /// experts B, experts W, experts F, attention B, attention W; exchanges in the order combine B, dispatch F,
  /// dispatch B, combine F. Sends go out when both have ended.
  void forward_overlapped_with(PassLowering& other) {
    for (PassLowering* pass : {this, &other}) {
      pass->tag_.overlapped = true;
      pass->wait(pass == &other);
      step_.join(actor_);
    }
    last_ = other.last_ = step_.streams(actor_).compute;
    begin_forward();
    other.begin_backward(true);
    for (std::int64_t i = 0; i < std::max(layers(), other.layers()); ++i) {
      const bool forward = i < layers();
      const bool backward = i < other.layers();
      if (backward) other.combine_backward(i);
      if (forward) attention_forward(i);
      if (backward) other.feed_forward_backward(i, true);
      if (forward) exchange(layer_of_forward(i), Work::dispatch);
      if (backward) other.exchange(other.layer_of_backward(i), Work::dispatch_backward);
      if (forward) feed_forward_forward(i);
      if (backward) other.attention_input(i);
      if (forward) exchange(layer_of_forward(i), Work::combine);
      if (backward) other.attention_weight(i);
    }
    end_forward();
    other.end_backward(true);
    send(false);
    other.send(true);
  }

 private:
  Tag tagged(Work work, std::int64_t layer, OpPass pass) const {
    Tag tag = tag_;
    tag.work = work;
    tag.layer = static_cast<std::int16_t>(layer);
    tag.pass = pass == OpPass::forward          ? PassKind::forward
               : pass == OpPass::backward_input ? PassKind::backward_input
                                                : PassKind::backward_weight;
    return tag;
  }

  std::int64_t layers() const { return end_layer_ - first_layer_; }
  std::int64_t layer_of_forward(std::int64_t i) const { return first_layer_ + i; }
  std::int64_t layer_of_backward(std::int64_t i) const { return end_layer_ - 1 - i; }
  const LayerTimes& times_of(std::int64_t layer) const { return step_.times().layer(layer); }
  const BlockTimes& feed_forward_of(std::int64_t layer) const {
    return step_.feed_forward_times(actor_, layer, slot_.microbatch);
  }
  bool is_last() const { return stage_ == last_stage_; }

  void begin_forward() {
    tag_.pass = PassKind::forward;
    if (stage_ != 0) return;
    gather(Work::embedding, -1);
    compute(step_.times().embedding(), OpPass::forward, Work::embedding, -1);
    reduce_shared(-1, OpPass::forward);
  }
  void end_forward() {
    if (!is_last()) return;
    gather(Work::head, -1);
    for (std::int64_t i = 0; i < heads(); ++i) gather_shared(-1, OpPass::forward);
    compute(step_.times().head(), OpPass::forward, Work::head, -1);
    for (std::int64_t i = 1; i < heads(); ++i) reduce_shared(-1, OpPass::forward);  // their embeddings
  }
  void begin_backward(bool weights_too) {
    tag_.pass = PassKind::backward_input;
    if (!is_last()) return;
    gather(Work::head, -1);
    compute(step_.times().head(), OpPass::backward_input, Work::head, -1);
    for (std::int64_t i = 0; i < heads(); ++i) reduce_shared(-1, OpPass::backward_input);
    for (std::int64_t i = 1; i < heads(); ++i) gather_shared(-1, OpPass::backward_input);
    if (weights_too) weight(step_.times().head(), Work::head, -1);
  }
  void end_backward(bool weights_too) {
    if (stage_ == 0) gather(Work::embedding, -1);
    if (stage_ == 0 && weights_too) embedding_weight();
    if (weights_too) end_weights();
  }
  void embedding_weight() {
    gather_shared(-1, OpPass::backward_weight);
    weight(step_.times().embedding(), Work::embedding, -1);
  }
  /// The model's, and with each prediction layer one more, and an embedding of its own.
  std::int64_t heads() const { return 1 + step_.scenario().model.prediction_layers; }

  void attention_forward(std::int64_t i) {
    const std::int64_t layer = layer_of_forward(i);
    gather(Work::attention, layer);
    attention(layer, OpPass::forward);
  }
  void feed_forward_forward(std::int64_t i) { feed_forward(layer_of_forward(i), OpPass::forward); }

  /// The gradient of the combine, after what recomputation sends once more.
  void combine_backward(std::int64_t i) {
    const std::int64_t layer = layer_of_backward(i);
    const Recompute& recompute = step_.scenario().recompute;
    gather(Work::attention, layer);
    if (recompute.full) shared_again(layer);
    if (recompute.full || recompute.experts) {
      exchange(layer, Work::dispatch);
      gather_experts(layer, OpPass::forward);
    }
    if (recompute.full) {
      reduce_experts(layer, OpPass::forward);
      exchange(layer, Work::combine);
    }
    exchange(layer, Work::combine_backward);
  }
  void feed_forward_backward(std::int64_t i, bool weights_too) {
    const std::int64_t layer = layer_of_backward(i);
    const bool shares = shares_feed_forward(layer);
    if (weights_too && shares && overlaps_tensor()) {
      gather_experts(layer, OpPass::backward_input);
      shared_backward(feed_forward_of(layer), Work::feed_forward, layer);
      return reduce_experts(layer, OpPass::backward_input);
    }
    feed_forward(layer, OpPass::backward_input);
    if (weights_too) weight(feed_forward_of(layer), Work::feed_forward, layer);
  }
  void attention_backward(std::int64_t i, bool weights_too) {
    const std::int64_t layer = layer_of_backward(i);
    if (weights_too && overlaps_tensor() && sizes().context == 1)
      return shared_backward(times_of(layer).attention, Work::attention, layer);
    attention_input(i);
    if (weights_too) attention_weight(i);
  }
  void attention_input(std::int64_t i) {
    const std::int64_t layer = layer_of_backward(i);
    attention(layer, OpPass::backward_input);
  }
  void attention_weight(std::int64_t i) {
    weight(times_of(layer_of_backward(i)).attention, Work::attention, layer_of_backward(i));
  }

  void compute(const BlockTimes& block, OpPass pass, Work work, std::int64_t layer) {
    compute(block.in(pass), tagged(work, layer, pass));
  }
  void compute(const Timed& timed, const Tag& tag) {
    if (timed.time.count > 0) goes_on_after(step_.compute(actor_, timed, tag, last_));
  }

  /// Whether communication of tensor parallelism goes on beside the gradients of this pass. Beside another
  /// pass the communication stream has its own order.
  bool overlaps_tensor() const {
    return sizes().tensor > 1 && !tag_.overlapped &&
           step_.scenario().collectives.tensor_backward == TensorBackward::overlapped;
  }

  /// Both gradients of a block that a tensor-parallel group shares: what it read is gathered once more beside
  /// the first, and the sum of the first is under way beside the second.
  void shared_backward(const BlockTimes& block, Work work, std::int64_t layer) {
    const auto send = [&](Operation operation, TaskId after) {
      return step_.call(actor_, Scope::tensor, step_.tensor_pattern(actor_, operation),
                        tagged(Work::tensor, layer, OpPass::backward_input), after);
    };
    const bool scatter = step_.scenario().divides_tokens();
    gather_shared(layer, OpPass::backward_input);
    const TaskId read = scatter ? send(Operation::all_gather, last_) : nothing;
    const Tag input = tagged(work, layer, OpPass::backward_input);
    const TaskId computed = step_.compute(actor_, block.in(OpPass::backward_input), input, last_);
    const TaskId sum = send(scatter ? Operation::reduce_scatter : Operation::all_reduce, computed);
    last_ = step_.both(computed, read);
    weight_of_gathered(block, work, layer, computed);
    goes_on_after(step_.both(last_, sum));
  }

  /// With sequence parallelism each rank kept its part only of what a product read.
  bool is_kept_in_parts(Work work, std::int64_t layer) const {
    if (sizes().tensor == 1 || !step_.scenario().divides_tokens() || work == Work::embedding) return false;
    return work != Work::feed_forward || shares_feed_forward(layer);
  }

  /// A weight gradient: in an overlapped pair nothing else of its pass waits for it.
  void weight(const BlockTimes& block, Work work, std::int64_t layer) {
    const TaskId input = last_;
    const std::int64_t inputs = work == Work::head ? heads() : 1;
    const std::int64_t gathers = is_kept_in_parts(work, layer) ? inputs : 0;
    for (std::int64_t i = 0; i < gathers; ++i) tensor(Operation::all_gather, layer, OpPass::backward_weight);
    weight_of_gathered(block, work, layer, input);
  }
  void weight_of_gathered(const BlockTimes& block, Work work, std::int64_t layer, TaskId input) {
    compute(block, OpPass::backward_weight, work, layer);
    const Tag tag = tagged(work, layer, OpPass::backward_weight);
    const TaskId sent = sync_.produced(actor_, stage_, tag, step_.streams(actor_).compute);
    if (tag_.overlapped) last_ = input;
    goes_on_after_too(sent);
  }

  /// All weight gradients of the pass have been produced.
  void end_weights() { goes_on_after_too(sync_.pass_ends(actor_, tag_)); }

  /// The pass needs the parameters of a layer, the embedding or the head.
  void gather(Work work, std::int64_t layer) {
    Tag tag = tag_;
    tag.work = work;
    tag.layer = static_cast<std::int16_t>(layer);
    const TaskId now = last_ == nothing ? step_.streams(actor_).compute : last_;
    goes_on_after_too(sync_.gather(actor_, tag, now));
  }

  /// What the pass issues next waits for that task, which may be nothing, and for all that it waited for.
  void goes_on_after_too(TaskId task) {
    if (task == nothing) return;
    if (!tag_.overlapped) {
      const Streams& streams = step_.streams(actor_);
      last_ = step_.both(streams.compute, streams.communication);
    }
    goes_on_after(step_.both(last_, task));
  }

  /// What the pass issues next is behind the task. Alone on the device, so is everything else of the actor.
  void goes_on_after(TaskId task) {
    last_ = task;
    if (tag_.overlapped) return;
    Streams& streams = step_.streams(actor_);
    streams.compute = task;
    streams.communication = task;
  }

  const Layer& shape_of(std::int64_t layer) const {
    return step_.scenario().model.layers[static_cast<std::size_t>(layer)];
  }
  const Sizes& sizes() const { return step_.scenario().layout.sizes(); }

  /// Before a block that a tensor-parallel group shares: inputs are gathered, or whole already.
  void gather_shared(std::int64_t layer, OpPass pass) {
    if (sizes().tensor > 1 && step_.scenario().divides_tokens()) tensor(Operation::all_gather, layer, pass);
  }
  /// After it: each rank has a part of every sum.
  void reduce_shared(std::int64_t layer, OpPass pass) {
    if (sizes().tensor == 1) return;
    const bool scatter = step_.scenario().divides_tokens();
    tensor(scatter ? Operation::reduce_scatter : Operation::all_reduce, layer, pass);
  }
  /// The same for experts whose matrices are shared, around their computation.
  void gather_experts(std::int64_t layer, OpPass pass) {
    if (step_.scenario().divides_tokens()) expert_tensor(Operation::all_gather, layer, pass);
  }
  void reduce_experts(std::int64_t layer, OpPass pass) {
    const bool scatter = step_.scenario().divides_tokens();
    expert_tensor(scatter ? Operation::reduce_scatter : Operation::all_reduce, layer, pass);
  }

  void attention(std::int64_t layer, OpPass pass) {
    gather_shared(layer, pass);
    if (sizes().context == 1) compute(times_of(layer).attention, pass, Work::attention, layer);
    for (const Piece& piece : times_of(layer).pieces[static_cast<std::size_t>(pass)]) {
      if (!piece.is_core()) {
        compute(piece.timed, tagged(Work::attention, layer, pass));
      } else if (step_.scenario().context_exchange == ContextExchange::ring) {
        core_in_ring(piece, layer, pass);
      } else {
        core_between_gathers(piece, layer, pass);
      }
    }
    reduce_shared(layer, pass);
  }

  /// Keys and values of all context ranks come first. In backward they come again, and their gradients go
  /// home.
  void core_between_gathers(const Piece& piece, std::int64_t layer, OpPass pass) {
    const Bytes whole = piece.keys_and_values * sizes().context;
    const auto send = [&](Operation operation) {
      const PatternId pattern = step_.context_pattern(actor_, operation, whole);
      goes_on_after(step_.call(actor_, Scope::context, pattern, tagged(Work::context, layer, pass), last_));
    };
    send(Operation::all_gather);
    compute(piece.timed, tagged(Work::attention, layer, pass));
    if (piece.backward) send(Operation::reduce_scatter);
  }

  /// Each block of keys and values is attended to while the next one comes. Blocks of a row that take as long
  /// beside as many sends are one task and one communication.
  void core_in_ring(const Piece& core, std::int64_t layer, OpPass pass) {
    for (std::size_t block = 0; block < core.blocks.size();) {
      const Timed each = core.blocks[block];
      const std::int64_t sends = core.sends_beside(block);
      std::int64_t count = 0;
      for (; block < core.blocks.size() && core.blocks[block].time == each.time &&
             core.sends_beside(block) == sends;
           ++block)
        ++count;
      const TaskId input = last_;
      const TaskId computed = step_.compute(actor_, {each.time * count, each.slowdown},
                                            tagged(Work::attention, layer, pass), input);
      TaskId sent = nothing;
      if (sends > 0) {
        const PatternId pattern = step_.ring_pattern(actor_, core.keys_and_values * sends, count);
        sent = step_.call(actor_, Scope::context, pattern, tagged(Work::context, layer, pass), input);
      }
      goes_on_after(step_.both(computed, sent));
    }
  }

  /// What is sent once more when a whole layer is computed again, besides keys and values.
  void shared_again(std::int64_t layer) {
    for (int block = 0; block < (shares_feed_forward(layer) ? 2 : 1); ++block) {
      gather_shared(layer, OpPass::forward);
      reduce_shared(layer, OpPass::forward);
    }
  }

  /// A dense feed-forward and shared experts are divided over the tensor-parallel group, routed experts over
  /// their own.
  bool shares_feed_forward(std::int64_t layer) const {
    const Layer& shape = shape_of(layer);
    return !shape.is_moe || shape.experts.shared_width > 0;
  }
  void feed_forward(std::int64_t layer, OpPass pass) {
    const bool shares = shares_feed_forward(layer);
    gather_experts(layer, pass);
    if (shares) gather_shared(layer, pass);
    compute(feed_forward_of(layer), pass, Work::feed_forward, layer);
    if (shares) reduce_shared(layer, pass);
    reduce_experts(layer, pass);
  }

  void expert_tensor(Operation operation, std::int64_t layer, OpPass pass) {
    if (!shape_of(layer).is_moe || sizes().expert_tensor == 1) return;
    const PatternId pattern = step_.expert_tensor_pattern(actor_, layer, slot_.microbatch, operation);
    goes_on_after(
        step_.call(actor_, Scope::expert_tensor, pattern, tagged(Work::expert_tensor, layer, pass), last_));
  }

  void tensor(Operation operation, std::int64_t layer, OpPass pass) {
    goes_on_after(step_.call(actor_, Scope::tensor, step_.tensor_pattern(actor_, operation),
                             tagged(Work::tensor, layer, pass), last_));
  }

  void exchange(std::int64_t layer, Work phase) {
    const Layer& shape = step_.scenario().model.layers[static_cast<std::size_t>(layer)];
    if (!shape.is_moe || step_.scenario().layout.sizes().expert == 1) return;
    Tag tag = tag_;
    tag.work = phase;
    tag.layer = static_cast<std::int16_t>(layer);
    const PatternId pattern = step_.exchange_pattern(actor_, layer, slot_.microbatch, phase);
    goes_on_after(step_.call(actor_, Scope::expert, pattern, tag, last_));
  }

  /// Waits for the input of a forward or the gradient of a backward from another stage, and gathers it where
  /// it came in parts.
  void wait(bool gradient) {
    if (gradient ? is_last() : stage_ == 0) return;
    if (step_.streams(actor_).arrival != nothing) step_.join(actor_);  // of a pass that had no task
    step_.streams(actor_).arrival = step_.arrival(gradient, stage_, slot_.microbatch, position_, tag_);
    const std::vector<Place>& chain = chain_of(step_.scenario().order, slot_);
    const auto here = static_cast<std::size_t>(stage_);
    const bool was_sent = chain[gradient ? here + 1 : here - 1].rank != chain[here].rank;
    if (was_sent && scatters_sends(step_.scenario()))
      tensor(Operation::all_gather, -1, gradient ? OpPass::backward_input : OpPass::forward);
  }

  void send(bool gradient) {
    if (gradient ? stage_ == 0 : is_last()) return;
    step_.join(actor_);  // all of the pass; a stage without layers passes on what arrived
    const std::int64_t to = gradient ? stage_ - 1 : stage_ + 1;
    step_.edge(step_.streams(actor_).compute, step_.arrival(gradient, to, slot_.microbatch, position_, tag_));
  }

  Step& step_;
  Synchronisation& sync_;
  ActorId actor_;
  Slot slot_;
  std::int64_t stage_ = 0, last_stage_ = 0, first_layer_ = 0, end_layer_ = 0;
  std::uint32_t position_ = 0;
  Tag tag_;
  TaskId last_ = nothing;  // what the next task of this pass needs
};

}  // namespace

void lower_slot(Step& step, Synchronisation& sync, ActorId actor, const Slot& slot) {
  PassLowering pass(step, sync, actor, slot);
  switch (slot.pass) {
    case Pass::forward:
      return pass.forward();
    case Pass::backward:
      return pass.backward(true);
    case Pass::backward_input:
      return pass.backward(false);
    case Pass::backward_weight:
      return pass.backward_weight();
  }
}

void lower_pair(Step& step, Synchronisation& sync, ActorId actor, const Slot& forward, const Slot& backward) {
  PassLowering other(step, sync, actor, backward);
  PassLowering(step, sync, actor, forward).forward_overlapped_with(other);
}

}  // namespace moesim
