// Forward: [embedding] (attention, dispatch, experts, combine) per layer [head]. Backward: the same from the
// end, each exchange reversed. Communication blocks the pass that issues it.
#include "sim/lower/passes.hpp"

#include <algorithm>

namespace moesim {
namespace {

/// One pass of one actor: its place in the model and the tags of its tasks.
class PassLowering {
 public:
  PassLowering(Step& step, ActorId actor, const Slot& slot) : step_(step), actor_(actor), slot_(slot) {
    const ActorPlace& place = step.communicators().actors()[actor];
    const Order& order = step.scenario().order;
    const std::vector<Place>& chain =
        order.chains[order.chain_of_microbatch[static_cast<std::size_t>(slot.microbatch)]];
    const auto here = std::find_if(chain.begin(), chain.end(), [&](const Place& p) {
      return p.rank == place.pipeline_rank && p.chunk == slot.chunk;
    });
    stage_ = here - chain.begin();
    last_stage_ = static_cast<std::int64_t>(chain.size()) - 1;
    first_layer_ = step.scenario().first_layer(stage_);
    end_layer_ = first_layer_ + step.scenario().layers_per_stage[static_cast<std::size_t>(stage_)];
    position_ = place.position;
    tag_.microbatch = slot.microbatch;
    tag_.stage = static_cast<std::int16_t>(place.pipeline_rank);
    tag_.chunk = static_cast<std::int8_t>(slot.chunk);
  }

  void forward() {
    tag_.pass = PassKind::forward;
    if (stage_ > 0) wait(false, stage_);
    if (stage_ == 0) compute(step_.times().embedding(), OpPass::forward, Work::embedding, -1);
    for (std::int64_t layer = first_layer_; layer < end_layer_; ++layer) {
      attention(layer, OpPass::forward);
      exchange(layer, Work::dispatch);
      feed_forward(layer, OpPass::forward);
      exchange(layer, Work::combine);
    }
    if (stage_ == last_stage_) {
      compute(step_.times().head(), OpPass::forward, Work::head, -1);
    } else {
      send(false, stage_ + 1);
    }
  }

  void backward(bool weights_too) {
    tag_.pass = PassKind::backward_input;
    if (stage_ < last_stage_) wait(true, stage_);
    if (stage_ == last_stage_) backward_of(step_.times().head(), Work::head, -1, weights_too);
    for (std::int64_t layer = end_layer_ - 1; layer >= first_layer_; --layer) {
      if (step_.scenario().recompute.full) {
        exchange(layer, Work::dispatch);
        exchange(layer, Work::combine);
      } else if (step_.scenario().recompute.experts) {
        exchange(layer, Work::dispatch);
      }
      exchange(layer, Work::combine_backward);
      feed_forward(layer, OpPass::backward_input);
      if (weights_too) feed_forward(layer, OpPass::backward_weight);
      exchange(layer, Work::dispatch_backward);
      attention(layer, OpPass::backward_input);
      if (weights_too) attention(layer, OpPass::backward_weight);
    }
    if (stage_ == 0) {
      if (weights_too) compute(step_.times().embedding(), OpPass::backward_weight, Work::embedding, -1);
    } else {
      send(true, stage_ - 1);
    }
  }

  void backward_weight() {
    if (stage_ == last_stage_) compute(step_.times().head(), OpPass::backward_weight, Work::head, -1);
    for (std::int64_t layer = end_layer_ - 1; layer >= first_layer_; --layer) {
      compute(step_.times().layer(layer).feed_forward, OpPass::backward_weight, Work::feed_forward, layer);
      compute(step_.times().layer(layer).attention, OpPass::backward_weight, Work::attention, layer);
    }
    if (stage_ == 0) compute(step_.times().embedding(), OpPass::backward_weight, Work::embedding, -1);
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

  void compute(const BlockTimes& block, OpPass pass, Work work, std::int64_t layer) {
    blocking(step_.compute(actor_, block.in(pass), tagged(work, layer, pass)));
  }

  /// Nothing of this actor goes on before the task has ended.
  void blocking(TaskId task) {
    Streams& streams = step_.streams(actor_);
    streams.compute = task;
    streams.communication = task;
  }

  void backward_of(const BlockTimes& block, Work work, std::int64_t layer, bool weights_too) {
    compute(block, OpPass::backward_input, work, layer);
    if (weights_too) compute(block, OpPass::backward_weight, work, layer);
  }

  /// A block inside its tensor-parallel group: inputs gathered before, outputs reduced and scattered after.
  void shared_block(const BlockTimes& block, OpPass pass, Work work, std::int64_t layer) {
    const bool shares = step_.scenario().layout.sizes().tensor > 1 && pass != OpPass::backward_weight;
    if (shares) tensor(Operation::all_gather, layer, pass);
    compute(block, pass, work, layer);
    if (shares) tensor(Operation::reduce_scatter, layer, pass);
  }

  void attention(std::int64_t layer, OpPass pass) {
    shared_block(step_.times().layer(layer).attention, pass, Work::attention, layer);
  }

  /// Experts take the tokens as they are; a dense block is shared by the tensor-parallel group.
  void feed_forward(std::int64_t layer, OpPass pass) {
    const BlockTimes& block = step_.times().layer(layer).feed_forward;
    if (step_.scenario().model.layers[static_cast<std::size_t>(layer)].is_moe) {
      compute(block, pass, Work::feed_forward, layer);
    } else {
      shared_block(block, pass, Work::feed_forward, layer);
    }
  }

  void tensor(Operation operation, std::int64_t layer, OpPass pass) {
    blocking(step_.call(actor_, Scope::tensor, step_.tensor_pattern(actor_, operation),
                        tagged(Work::tensor, layer, pass)));
  }

  void exchange(std::int64_t layer, Work phase) {
    const Layer& shape = step_.scenario().model.layers[static_cast<std::size_t>(layer)];
    if (!shape.is_moe || step_.scenario().layout.sizes().expert == 1) return;
    Tag tag = tag_;
    tag.work = phase;
    tag.layer = static_cast<std::int16_t>(layer);
    blocking(step_.call(actor_, Scope::expert, step_.exchange_pattern(actor_, shape.experts, phase), tag));
  }

  void wait(bool gradient, std::int64_t stage) {
    step_.streams(actor_).arrival = step_.arrival(gradient, stage, slot_.microbatch, position_, tag_);
  }

  void send(bool gradient, std::int64_t stage) {
    step_.join(actor_);  // a stage without layers passes on what arrived
    step_.edge(step_.streams(actor_).compute,
               step_.arrival(gradient, stage, slot_.microbatch, position_, tag_));
  }

  Step& step_;
  ActorId actor_;
  Slot slot_;
  std::int64_t stage_ = 0, last_stage_ = 0, first_layer_ = 0, end_layer_ = 0;
  std::uint32_t position_ = 0;
  Tag tag_;
};

}  // namespace

void lower_slot(Step& step, ActorId actor, const Slot& slot) {
  PassLowering pass(step, actor, slot);
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

}  // namespace moesim
