// How the ranks that hold the same parameters stay the same: gradients as passes produce them, parameters as
// passes need them, and what follows the last pass.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "models/base/at.hpp"
#include "sim/lower/step.hpp"
#include "sim/lower/units.hpp"
#include "sim/work/update.hpp"

namespace moesim {

/// Carries out the scenario's plan of gradient synchronisation.
class Synchronisation {
 public:
  explicit Synchronisation(StepLowering& step);

  /// The pass needs the parameters of the layer (work attention), embedding or head that `tag` names. Returns
  /// the task that brings them, or nothing. `now` is the task that the pass stands behind.
  TaskId gather(ActorId actor, const Tag& tag, TaskId now);
  /// The weight gradient of the block that `tag` names has been computed by task `after`. Returns what the
  /// pass has to wait for, or nothing.
  TaskId produced(ActorId actor, std::int64_t stage, const Tag& tag, TaskId after);
  /// The pass has produced all its weight gradients. Returns the same.
  TaskId pass_ends(ActorId actor, const Tag& tag);
  /// What follows an actor's last pass: gradients that are left, optimizer, parameters.
  void update(ActorId actor);

 private:
  /// Weight gradients of one block of the last microbatch, and the task after which they are complete.
  struct Complete {
    std::int64_t stage;
    Tag tag;
    TaskId after;
  };
  /// Gradients of whole tensors that are sent together, and the task that brings their sum.
  struct Bucket {
    Copied copied{};
    TaskId sum = nothing;
  };
  /// What an actor has yet to send, and how far it has come.
  struct State {
    std::array<Bytes, 2> open{};  // gradients in the bucket of replicated parameters and in that of experts
    std::array<std::int64_t, 2> open_tensors{};  // the same, where they are tensors
    std::vector<Bucket> sent;                    // of these
    TaskId open_after = nothing;                 // the task that completed what is open
    TaskId previous_use = nothing;  // what the pass stood behind when it last asked for parameters
    std::vector<Complete> complete;
    std::vector<bool> gathered;  // layers, embedding, head
  };

  /// The groups of replicated parameters, or those of experts.
  const Communicator& group_of(ActorId actor, bool experts) const;
  /// Gradients of a block to those of the microbatches before; nothing where there are none.
  TaskId add_up(ActorId actor, const Tag& tag);
  TaskId send_produced(ActorId actor, std::int64_t stage, const Tag& tag, TaskId after);
  bool is_last_microbatch(ActorId actor, const Tag& tag) const;
  bool was_gathered(ActorId actor, const Tag& tag);
  /// Gradients of a block into their buckets; nothing where no other rank has the same.
  TaskId copy_in(ActorId actor, const Tag& tag);
  /// Adds the tensors of a block to the open bucket, and sends it as often as one fills it.
  void add_tensors(ActorId actor, const Complete& complete);
  void send_tensors(ActorId actor, bool experts);
  /// The sums of all buckets back into gradients.
  void copy_out(ActorId actor);
  void open(ActorId actor, const Tag& tag, TaskId after);
  /// Sends buckets that are full, or with `all` what is open.
  TaskId send_open(ActorId actor, bool all, const Tag& tag);
  TaskId send(ActorId actor, bool experts, Bytes bytes, const Tag& tag);
  void send_complete(ActorId actor);
  void send_whole(ActorId actor);
  /// One operation on all gradients or parameters of the actor; its streams wait for it.
  void call_for_all(ActorId actor, Activity activity, Operation operation, const Collective& collective);
  /// Copies of an expert have each seen part of its tokens: their gradients are summed inside the expert
  /// group. Each then updates its own copy, so parameters need no traffic of their own.
  void sum_copies(ActorId actor);
  /// The first and the last pipeline rank each have gradients of the embedding, and update a copy of their
  /// own (Megatron-LM, core/distributed/finalize_model_grads.py).
  void sum_embeddings(ActorId actor);
  std::int64_t pipeline_rank_of(ActorId actor) const {
    return step_.communicators().actors()[actor].pipeline_rank;
  }
  const Holdings& held_by(ActorId actor) const { return at(held_, pipeline_rank_of(actor)); }
  /// Passes over the gradients that the actor has summed itself.
  void prepare_gradients(ActorId actor);
  void optimize(ActorId actor);
  void run(ActorId actor, const std::vector<Repeated>& ops);
  std::int64_t updated(ActorId actor, bool experts, std::int64_t elements) const;
  Tag tag_of(Activity activity, bool experts, const Tag& pass) const;

  StepLowering& step_;
  const Scenario& scenario_;
  const GradientPlan& plan_;
  Units units_;
  std::vector<State> states_;                                                  // by actor
  std::vector<Holdings> held_;                                                 // by pipeline rank
  std::vector<std::vector<Weight>> weights_;                                   // the same
  std::vector<std::vector<std::int32_t>> first_microbatch_, last_microbatch_;  // by pipeline rank and chunk
};

}  // namespace moesim
