// Each program in turn: forward from the embedding to the head, backward from the head to the embedding.
#include "sim/lower/passes.hpp"

#include <algorithm>

#include "sim/schedule/stage.hpp"
#include "sim/work/share.hpp"

namespace moesim {
namespace {

PassKind kind_of(OpPass pass) {
  return pass == OpPass::forward          ? PassKind::forward
         : pass == OpPass::backward_input ? PassKind::backward_input
                                          : PassKind::backward_weight;
}

/// One pass of one actor: its place in the model and the tags of its tasks.
class PassLowering {
 public:
  PassLowering(StepLowering& step, Synchronisation& sync, ActorId actor, const Slot& slot)
      : step_(step), sync_(sync), actor_(actor), slot_(slot) {
    const ActorPlace& place = step.communicators().actors()[actor];
    const Order& order = step.order();
    stage_ = static_cast<std::int64_t>(stage_of(order, place.pipeline_rank, slot));
    content_ = content_of(step.scenario().layers_per_stage, static_cast<std::size_t>(stage_));
    position_ = place.position;
    tag_.microbatch = slot.microbatch;
    tag_.pipeline_rank = static_cast<std::int16_t>(place.pipeline_rank);
    tag_.chunk = static_cast<std::int8_t>(slot.chunk);
  }

  void alone() {
    const bool is_weight_only = slot_.pass == Pass::backward_weight;
    if (!is_weight_only) wait();
    for (const Issued& issued : issued_by(content_, slot_.pass)) play(issued);
    if (has_weights(slot_.pass)) end_weights();
    if (!is_weight_only) send();
  }

  /// This forward and that backward share the device. Each hands on what it made when it has ended itself,
  /// the backward with the pair: Megatron-Core sends the forward's output beside what is left of the backward
  /// (model_chunk_schedule_plan.py, post_forward).
  void overlapped_with(PassLowering& backward) {
    for (PassLowering* pass : {this, &backward}) {
      pass->tag_.overlapped = true;
      pass->wait();
      step_.join(actor_);
    }
    last() = backward.last() = step_.streams(actor_).compute;
    for (const Issued& issued : issued_by_pair(content_, backward.content_))
      (issued.is_backward ? backward : *this).play(issued);
    if (!ends()) hand_on(last());
    backward.end_weights();
    step_.join(actor_);
    backward.send();
  }

 private:
  bool is_forward() const { return slot_.pass == Pass::forward; }
  /// Whether the pass begins or ends at an end of the model.
  bool begins() const { return is_forward() ? content_.has_embedding : content_.has_head; }
  bool ends() const { return is_forward() ? content_.has_head : content_.has_embedding; }
  void play(const Issued& issued) {
    const Programs& all = step_.programs().of(issued);
    const Program& program = tag_.overlapped ? all.of_pair(issued.is_backward) : all.of(slot_.pass);
    step_.busy_host(actor_, host_of_node(issued, program, step_.scenario()), tag_);
    for (const Act& act : program.of(issued.segment)) play(act, issued.layer);
  }

  void play(const Act& act, std::int64_t layer) {
    const TaskId behind = step_.both(reached(act.behind), reached(act.also_behind));
    const Tag tag = tagged(act, layer);
    switch (act.kind) {
      case ActKind::compute:
        return compute(act, layer, tag, behind);
      case ActKind::call:
        return reach(act.lane, step_.call(actor_, act, {layer, slot_.microbatch}, tag, behind));
      case ActKind::join:
        return reach(act.lane, behind);
      case ActKind::needs:
        return goes_on_after_too(
            sync_.gather(actor_, tag, behind == nothing ? step_.streams(actor_).compute : behind));
      case ActKind::produces:
        return goes_on_after_too(sync_.produced(actor_, stage_, tag, step_.streams(actor_).compute));
      default:
        return copy(act, layer, tag, behind == nothing ? step_.streams(actor_).compute : behind);
    }
  }

  void compute(const Act& act, std::int64_t layer, const Tag& tag, TaskId behind) {
    const Timed timed = step_.timed(actor_, act, {layer, slot_.microbatch});
    if (timed.time.count == 0) {
      reached_[act.lane] = behind;
      return;
    }
    if (slot_.pass == Pass::backward_weight)
      step_.busy_host(actor_, host_of_weights(act, step_.scenario(), layer), tag);
    reach(act.lane, step_.compute(actor_, timed, tag, behind));
  }

  /// Between the device and its host's memory.
  void copy(const Act& act, std::int64_t layer, const Tag& tag, TaskId behind) {
    const CopiedBlock of{actor_, slot_.chunk, slot_.microbatch, layer, act.activity};
    HostCopies& copies = step_.copies();
    if (act.kind == ActKind::leaves) return goes_on_after_too(copies.leave(of, tag, behind));
    if (act.kind == ActKind::returns) return goes_on_after_too(copies.come_back(of, tag, behind));
    copies.let_go(of, tag, behind);
  }

  Tag tagged(const Act& act, std::int64_t layer) const {
    Tag tag = tag_;
    tag.activity = act.activity;
    tag.layer = static_cast<std::int16_t>(layer);
    tag.pass = kind_of(act.pass);
    return tag;
  }

  TaskId& last() { return reached_[main_lane]; }
  /// What a lane has come to, or nothing.
  TaskId reached(Lane lane) const { return lane == no_lane ? nothing : reached_[lane]; }
  /// Alone on the device, everything else of the actor is behind the main lane too.
  void reach(Lane lane, TaskId task) {
    reached_[lane] = task;
    if (lane != main_lane || tag_.overlapped) return;
    Streams& streams = step_.streams(actor_);
    streams.compute = task;
    streams.communication = streams.inside = task;
  }

  /// What the pass issues next waits for that task, which may be nothing, and for all that it waited for.
  void goes_on_after_too(TaskId task) {
    if (task == nothing) return;
    if (!tag_.overlapped) {
      const Streams& streams = step_.streams(actor_);
      last() = step_.both(step_.both(streams.compute, streams.communication), streams.inside);
    }
    reach(main_lane, step_.both(last(), task));
  }

  /// All weight gradients of the pass have been produced.
  void end_weights() { goes_on_after_too(sync_.pass_ends(actor_, tag_)); }

  /// Waits for the input of a forward or the gradient of a backward from another stage, and gathers it where
  /// it came in parts.
  void wait() {
    receive();
    tag_.pass = is_forward() ? PassKind::forward : PassKind::backward_input;
  }
  void receive() {
    const bool gradient = !is_forward();
    if (begins()) return;
    if (step_.streams(actor_).arrival != nothing) step_.join(actor_);  // of a pass that had no task
    step_.streams(actor_).arrival = step_.arrival(gradient, stage_, slot_.microbatch, position_, tag_);
    const std::vector<Place>& chain = chain_of(step_.order(), slot_);
    const auto here = static_cast<std::size_t>(stage_);
    const bool was_sent = chain[gradient ? here + 1 : here - 1].rank != chain[here].rank;
    if (was_sent && scatters_sends(step_.scenario())) play(gather_of_sends(slot_.pass), -1);
  }

  void send() {
    if (ends()) return;
    step_.join(actor_);  // all of the pass; a stage without layers passes on what arrived
    hand_on(step_.streams(actor_).compute);
  }
  void hand_on(TaskId made) {
    const bool gradient = !is_forward();
    const std::int64_t to = gradient ? stage_ - 1 : stage_ + 1;
    step_.edge(made, step_.arrival(gradient, to, slot_.microbatch, position_, tag_));
  }

  StepLowering& step_;
  Synchronisation& sync_;
  ActorId actor_;
  Slot slot_;
  std::int64_t stage_ = 0;
  StageContent content_;
  std::uint32_t position_ = 0;
  Tag tag_;
  std::array<TaskId, lane_count> reached_{nothing, nothing, nothing, nothing};
};

}  // namespace

void lower_slot(StepLowering& step, Synchronisation& sync, ActorId actor, const Slot& slot) {
  PassLowering(step, sync, actor, slot).alone();
}

void lower_pair(StepLowering& step, Synchronisation& sync, ActorId actor, const Slot& forward,
                const Slot& backward) {
  PassLowering other(step, sync, actor, backward);
  PassLowering(step, sync, actor, forward).overlapped_with(other);
}

}  // namespace moesim
