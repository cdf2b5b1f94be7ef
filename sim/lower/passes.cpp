// Forward: [embedding] (attention, dispatch, experts, combine) per layer [head]. Backward: the same from the
// end, each exchange reversed. Communication blocks the pass that issues it.
#include "sim/lower/passes.hpp"

#include <algorithm>

#include "sim/schedule/stage.hpp"

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
      attention_input(i);
      if (weights_too) attention_weight(i);
    }
    end_backward(weights_too);
    send(true);
  }

  void backward_weight() {
    if (is_last()) weight(step_.times().head(), Work::head, -1);
    for (std::int64_t i = 0; i < layers(); ++i) {
      weight(times_of(layer_of_backward(i)).feed_forward, Work::feed_forward, layer_of_backward(i));
      attention_weight(i);
    }
    if (stage_ == 0) weight(step_.times().embedding(), Work::embedding, -1);
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
  bool is_last() const { return stage_ == last_stage_; }

  void begin_forward() {
    tag_.pass = PassKind::forward;
    if (stage_ == 0) gather(Work::embedding, -1);
    if (stage_ == 0) compute(step_.times().embedding(), OpPass::forward, Work::embedding, -1);
  }
  void end_forward() {
    if (is_last()) gather(Work::head, -1);
    if (is_last()) compute(step_.times().head(), OpPass::forward, Work::head, -1);
  }
  void begin_backward(bool weights_too) {
    tag_.pass = PassKind::backward_input;
    if (!is_last()) return;
    gather(Work::head, -1);
    compute(step_.times().head(), OpPass::backward_input, Work::head, -1);
    if (weights_too) weight(step_.times().head(), Work::head, -1);
  }
  void end_backward(bool weights_too) {
    if (stage_ == 0) gather(Work::embedding, -1);
    if (stage_ == 0 && weights_too) weight(step_.times().embedding(), Work::embedding, -1);
    if (weights_too) end_weights();
  }

  void attention_forward(std::int64_t i) {
    const std::int64_t layer = layer_of_forward(i);
    gather(Work::attention, layer);
    shared_block(times_of(layer).attention, OpPass::forward, Work::attention, layer);
  }
  void feed_forward_forward(std::int64_t i) { feed_forward(layer_of_forward(i), OpPass::forward); }

  /// The gradient of the combine, after what recomputation sends once more.
  void combine_backward(std::int64_t i) {
    const std::int64_t layer = layer_of_backward(i);
    const Recompute& recompute = step_.scenario().recompute;
    gather(Work::attention, layer);
    if (recompute.full) shared_again(layer);
    if (recompute.full || recompute.experts) exchange(layer, Work::dispatch);
    if (recompute.full) exchange(layer, Work::combine);
    exchange(layer, Work::combine_backward);
  }
  void feed_forward_backward(std::int64_t i, bool weights_too) {
    const std::int64_t layer = layer_of_backward(i);
    feed_forward(layer, OpPass::backward_input);
    if (weights_too) weight(times_of(layer).feed_forward, Work::feed_forward, layer);
  }
  void attention_input(std::int64_t i) {
    const std::int64_t layer = layer_of_backward(i);
    shared_block(times_of(layer).attention, OpPass::backward_input, Work::attention, layer);
  }
  void attention_weight(std::int64_t i) {
    weight(times_of(layer_of_backward(i)).attention, Work::attention, layer_of_backward(i));
  }

  void compute(const BlockTimes& block, OpPass pass, Work work, std::int64_t layer) {
    if (block.in(pass).time.count == 0) return;
    goes_on_after(step_.compute(actor_, block.in(pass), tagged(work, layer, pass), last_));
  }

  /// A weight gradient: in an overlapped pair nothing else of its pass waits for it.
  void weight(const BlockTimes& block, Work work, std::int64_t layer) {
    const TaskId input = last_;
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

  /// A block inside its tensor-parallel group: inputs gathered before, outputs reduced and scattered after.
  void shared_block(const BlockTimes& block, OpPass pass, Work work, std::int64_t layer) {
    const bool shares = step_.scenario().layout.sizes().tensor > 1;
    if (shares) tensor(Operation::all_gather, layer, pass);
    compute(block, pass, work, layer);
    if (shares) tensor(Operation::reduce_scatter, layer, pass);
  }

  /// What tensor parallelism sends once more when a whole layer is computed again.
  void shared_again(std::int64_t layer) {
    if (step_.scenario().layout.sizes().tensor == 1) return;
    const bool is_moe = step_.scenario().model.layers[static_cast<std::size_t>(layer)].is_moe;
    for (int block = 0; block < (is_moe ? 1 : 2); ++block) {
      tensor(Operation::all_gather, layer, OpPass::forward);
      tensor(Operation::reduce_scatter, layer, OpPass::forward);
    }
  }

  /// Experts take the tokens as they are; a dense block is shared by the tensor-parallel group.
  void feed_forward(std::int64_t layer, OpPass pass) {
    const BlockTimes& block = times_of(layer).feed_forward;
    if (step_.scenario().model.layers[static_cast<std::size_t>(layer)].is_moe) {
      compute(block, pass, Work::feed_forward, layer);
    } else {
      shared_block(block, pass, Work::feed_forward, layer);
    }
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
    goes_on_after(
        step_.call(actor_, Scope::expert, step_.exchange_pattern(actor_, shape.experts, phase), tag, last_));
  }

  /// Waits for the input of a forward or the gradient of a backward from another stage.
  void wait(bool gradient) {
    if (gradient ? is_last() : stage_ == 0) return;
    if (step_.streams(actor_).arrival != nothing) step_.join(actor_);  // of a pass that had no task
    step_.streams(actor_).arrival = step_.arrival(gradient, stage_, slot_.microbatch, position_, tag_);
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
