// The state of a lowering: the graph as it grows, and where each actor stands in it.
#pragma once

#include <array>
#include <cstdint>
#include <utility>
#include <vector>

#include "sim/graph/task_graph.hpp"
#include "sim/lower/host_copies.hpp"
#include "sim/lower/patterns.hpp"
#include "sim/work/work.hpp"

namespace moesim {

/// Calls of one channel of an actor keep their order. Exchanges are those of the communication stream; the
/// others go on beside it.
enum class Channel : std::uint8_t { exchange, gradient, gather };
inline constexpr std::size_t channel_count = 3;

/// Where an actor stands: the last task of its compute stream, of the communication stream of experts and of
/// that inside blocks (tensor and context parallelism), an arrival that the next task of any waits for, the
/// last gradients and parameters sent beside them, and how far its host has come.
struct Streams {
  TaskId compute = nothing;
  TaskId communication = nothing;
  TaskId inside = nothing;
  TaskId arrival = nothing;
  TaskId gradient = nothing;
  TaskId gather = nothing;
  TaskId host = nothing;
};

/// Adds the tasks of one step. Members of a communicator issue the same calls in the same order, so the n-th
/// call of each is one task.
class StepLowering {
 public:
  StepLowering(const Work& work, Loading loading, const Fold& fold);
  StepLowering(const StepLowering&) = delete;  // its parts refer to each other
  StepLowering& operator=(const StepLowering&) = delete;

  const Scenario& scenario() const { return work_.scenario; }
  const Order& order() const { return work_.order; }
  const ModelPrograms& programs() const { return programs_; }
  /// A compute act on an actor; experts by the rows that it gets of this microbatch.
  Timed timed(ActorId actor, const Act& act, const ActPlace& place) const;
  const Communicators& communicators() const { return communicators_; }
  Streams& streams(ActorId actor) { return streams_[actor]; }

  /// A compute task behind the actor's compute stream and behind `input`, which may be nothing.
  TaskId compute(ActorId actor, const Timed& timed, const Tag& tag, TaskId input = nothing);
  /// The actor's next call of its communicator of that scope, behind the stream that such calls have and
  /// `input`. The host issues it, or has with what it issued last.
  TaskId call(ActorId actor, Scope scope, PatternId pattern, const Tag& tag, TaskId input = nothing,
              bool is_issued = false);
  /// The actor's next call of a layer's program.
  TaskId call(ActorId actor, const Act& act, const ActPlace& place, const Tag& tag, TaskId input) {
    if (host_reads_counts(act, scenario())) wait_for_counts(actor, tag, input);
    return call(actor, scope_of(act.activity), patterns_.of(actor, act, place), tag, input, act.parts > 0);
  }
  /// The same on a channel beside the communication stream: nothing waits for it but who asks for it.
  TaskId call_beside(ActorId actor, Scope scope, Channel channel, PatternId pattern, const Tag& tag,
                     TaskId input);
  /// Copies around gradients and parameters on their way, behind `input`, in the name of that pass.
  TaskId copy(ActorId actor, const std::vector<Op>& ops, Tag tag, TaskId input = nothing);
  /// The host of an actor is busy for so long before it issues anything else.
  void busy_host(ActorId actor, Time time, const Tag& tag);
  /// One task that ends when both have ended; either may be nothing.
  TaskId both(TaskId one, TaskId other);
  /// These streams wait for all that the actor has issued so far, and for its arrival.
  void join(ActorId actor);
  void edge(TaskId before, TaskId after) { builder_.add_edge(before, after); }

  /// The task whose end means that the input of (model stage, microbatch) has arrived: a send, or a barrier
  /// where producer and consumer are one rank. Gradients come the other way.
  TaskId arrival(bool gradient, std::int64_t model_stage, std::int64_t microbatch, std::uint32_t position,
                 const Tag& tag);

  /// The same task where it has been made, else nothing.
  TaskId known_arrival(bool gradient, std::int64_t model_stage, std::int64_t microbatch,
                       std::uint32_t position) const {
    return arrivals_[arrival_index(gradient, model_stage, microbatch, position)];
  }

  /// What passes send apart from calls of their layers.
  Patterns& patterns() { return patterns_; }
  const Patterns& patterns() const { return patterns_; }

  /// Of activations.
  HostCopies& copies() { return copies_; }

  /// The graph; nothing can be added any more.
  TaskGraph finish();

 private:
  /// A task that ends so long after `after`, on the host of an actor; or, of none, a delay.
  TaskId host_task(ActorId actor, Time time, const Tag& tag, TaskId after);
  /// The host issues that compute task, which begins behind `before`; returns what the device has then come
  /// to.
  TaskId issue(ActorId actor, const Timed& timed, const Tag& tag, TaskId task, TaskId before);
  /// The host issues a call; returns what the call is behind.
  TaskId issue_call(ActorId actor, const Tag& tag);
  /// The host goes on when it has read how many rows a dispatch behind `input` brings.
  void wait_for_counts(ActorId actor, const Tag& tag, TaskId input);
  std::size_t arrival_index(bool gradient, std::int64_t model_stage, std::int64_t microbatch,
                            std::uint32_t position) const;
  /// The actor's next call of a channel: the task that its communicator's members share.
  TaskId next_call(ActorId actor, Scope scope, Channel channel, PatternId pattern, const Tag& tag);

  const Work& work_;
  const ExpertLoads* loads_ = nullptr;  // where ranks differ
  ModelPrograms programs_;
  Communicators communicators_;
  GraphBuilder builder_;
  Patterns patterns_;
  HostCopies copies_;
  std::vector<Streams> streams_;
  std::vector<std::array<std::vector<TaskId>, channel_count>> calls_;                 // by communicator
  std::vector<std::array<std::uint32_t, scope_count * channel_count>> calls_issued_;  // by actor
  std::vector<TaskId> arrivals_;
  std::vector<std::pair<std::pair<Time, ActorId>, PatternId>> host_patterns_;  // sorted
  std::uint32_t positions_ = 1;
};

}  // namespace moesim
