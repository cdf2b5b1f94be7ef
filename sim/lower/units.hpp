// Parameters that are sharded in units, as FSDP2 has them: gathered ahead of the passes that need them,
// reduced behind those that produce their gradients, with copies on the device around both.
#pragma once

#include <cstddef>
#include <optional>
#include <vector>

#include "models/base/at.hpp"
#include "sim/lower/step.hpp"
#include "sim/work/copies.hpp"
#include "sim/work/holdings.hpp"

namespace moesim {

/// Carries out a plan that has units. A unit is a layer, or what a stage holds of the model's ends.
class Units {
 public:
  explicit Units(StepLowering& step);

  /// The actor's next use of a unit, in the order of its passes. Returns the task after which it is whole, or
  /// nothing where it is already.
  TaskId gather(ActorId actor);
  /// Weight gradients of the block that `tag` names have been computed, and all of those of the pass. Return
  /// what the pass goes on after, or nothing.
  TaskId produced(ActorId actor, const Tag& tag);
  TaskId pass_ends(ActorId actor, const Tag& tag);
  /// What is left to do with sums that have come.
  void finish(ActorId actor);

 private:
  /// One gathering of a unit for a pass.
  struct Gathering {
    Tag tag;
    Holdings unit;
  };
  /// What the passes of a pipeline rank need, in order.
  struct Uses {
    std::vector<Gathering> gatherings;
    std::vector<std::optional<std::size_t>> gathering_of;  ///< by use; none: it is whole already
  };
  /// Gradients of a unit that is being reduced.
  struct Reduced {
    Copied shard;
    bool adds = false;  ///< to the sum of microbatches before
  };
  struct State {
    std::size_t use = 0;                 // the next
    std::vector<TaskId> gathered;        // by gathering, as far as they have been issued
    Holdings layer, ends;                // gradients that wait for the rest of their unit
    TaskId last_reduced = nothing;       // the task that brings the newest sum
    std::optional<Reduced> under_way{};  // of which that is
    std::vector<bool> has_sum;           // by layer, and of the ends of the model
  };

  void add_uses(std::int64_t rank, Uses& uses) const;
  void issue(ActorId actor, std::size_t last);
  TaskId whole(ActorId actor, std::size_t gathering);
  TaskId reduce(ActorId actor, const Holdings& unit, const Tag& tag, std::int64_t tensors);
  /// Ranks that share what is replicated, or experts, and those that hold the same share.
  const Communicator& sharers(ActorId actor, bool experts) const;
  Scope scope_of_shards(bool experts) const;
  std::int64_t replicas(ActorId actor, bool experts) const;
  /// Elements that are gathered and reduced, and this device's shards of them.
  std::int64_t shared_elements(ActorId actor, const Holdings& unit) const;
  std::int64_t shard_elements(ActorId actor, const Holdings& unit) const;
  const Uses& uses_of(ActorId actor) const {
    return at(uses_, step_.communicators().actors()[actor].pipeline_rank);
  }

  StepLowering& step_;
  const Scenario& scenario_;
  const GradientPlan& plan_;
  std::vector<Uses> uses_;     // by pipeline rank
  std::vector<State> states_;  // by actor
};

}  // namespace moesim
