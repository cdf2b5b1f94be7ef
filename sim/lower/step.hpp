// The state of a lowering: the graph as it grows, and where each actor stands in it.
#pragma once

#include <array>
#include <cstdint>
#include <utility>
#include <vector>

#include "sim/graph/task_graph.hpp"
#include "sim/lower/communicators.hpp"
#include "sim/scenario/scenario.hpp"
#include "sim/work/exchange.hpp"
#include "sim/work/work_times.hpp"

namespace moesim {

/// Calls of one channel of an actor keep their order. Exchanges are those of the communication stream; the
/// others go on beside it.
enum class Channel : std::uint8_t { exchange, gradient, gather };
inline constexpr std::size_t channel_count = 3;

/// Where an actor stands: the last task of its compute and communication streams, an arrival that the next
/// task of either waits for, and the last gradients and parameters sent beside them.
struct Streams {
  TaskId compute = nothing;
  TaskId communication = nothing;
  TaskId arrival = nothing;
  TaskId gradient = nothing;
  TaskId gather = nothing;
};

/// Adds the tasks of one step. Members of a communicator issue the same calls in the same order, so the n-th
/// call of each is one task.
class Step {
 public:
  Step(const Scenario& scenario, Loading loading, const Fold& fold);

  const Scenario& scenario() const { return scenario_; }
  const WorkTimes& times() const { return times_; }
  /// The feed-forward block of a layer on an actor, by the rows that it gets of this microbatch.
  const BlockTimes& feed_forward_times(ActorId actor, std::int64_t layer, std::int64_t microbatch) const;
  const Communicators& communicators() const { return communicators_; }
  Streams& streams(ActorId actor) { return streams_[actor]; }

  /// A compute task behind the actor's compute stream and behind `input`, which may be nothing.
  TaskId compute(ActorId actor, const Timed& timed, const Tag& tag, TaskId input = nothing);
  /// The actor's next call of its communicator of that scope, behind its communication stream and `input`.
  TaskId call(ActorId actor, Scope scope, PatternId pattern, const Tag& tag, TaskId input = nothing);
  /// The same on a channel beside the communication stream: nothing waits for it but who asks for it.
  TaskId call_beside(ActorId actor, Scope scope, Channel channel, PatternId pattern, const Tag& tag,
                     TaskId input);
  /// One task that ends when both have ended; either may be nothing.
  TaskId both(TaskId one, TaskId other);
  /// Both streams wait for all that the actor has issued so far, and for its arrival.
  void join(ActorId actor);
  void edge(TaskId before, TaskId after) { builder_.add_edge(before, after); }

  /// The task whose end means that the input of (model stage, microbatch) has arrived: a send, or a barrier
  /// where producer and consumer are one rank. Gradients come the other way.
  TaskId arrival(bool gradient, std::int64_t model_stage, std::int64_t microbatch, std::uint32_t position,
                 const Tag& tag);

  /// Patterns, made when first asked for.
  PatternId exchange_pattern(ActorId actor, std::int64_t layer, std::int64_t microbatch, Work phase);
  /// The sum of gradients over the copies of experts inside an expert group, of all layers of the actor's
  /// pipeline rank; `nothing` where no expert has copies on several ranks.
  PatternId copies_pattern(ActorId actor);
  PatternId tensor_pattern(ActorId actor, Operation operation);
  /// Of an actor on the first or the last pipeline rank.
  PatternId embedding_pattern(ActorId actor, Bytes bytes);
  /// Keys and values, or their gradients, of a whole context-parallel group gathered or reduced.
  PatternId context_pattern(ActorId actor, Operation operation, Bytes whole);
  /// As many bytes from each rank of a context-parallel group to the next, `rounds` times.
  PatternId ring_pattern(ActorId actor, Bytes bytes, std::int64_t rounds);
  /// Rows of a layer inside the group that shares each expert.
  PatternId expert_tensor_pattern(ActorId actor, std::int64_t layer, std::int64_t microbatch,
                                  Operation operation);
  /// Gradients or parameters of that many bytes; for a server's plan, among those whom the operation
  /// concerns.
  PatternId sync_pattern(ActorId actor, Scope scope, Operation operation, const Collective& collective,
                         Bytes bytes);

  /// What the groups of each communication so far do by themselves.
  const Footprints& footprints() const { return patterns_.footprints(); }

  /// The graph; nothing can be added any more.
  TaskGraph finish();

 private:
  struct CachedPattern {
    std::uint64_t key;
    std::int64_t rounds;
    PatternId pattern;
  };

  /// The actor's next call of a channel: the task that its communicator's members share.
  TaskId next_call(ActorId actor, Scope scope, Channel channel, PatternId pattern, const Tag& tag);
  PatternId find_or_make(std::size_t communicator, std::uint64_t key, auto make, std::int64_t rounds = 1);
  std::uint32_t load_number(ActorId actor, std::int64_t layer, std::int64_t microbatch) const;
  PatternId even_exchange_pattern(ActorId actor, std::size_t layer, bool outward);
  PatternId uneven_exchange_pattern(ActorId actor, std::size_t layer, std::uint32_t loads, bool outward);
  PatternId make_exchange(const Communicator& communicator, std::size_t layer, bool outward,
                          const RankRows* rows);
  PatternId send_pattern(std::int64_t from_rank, std::int64_t to_rank, std::uint32_t position);
  std::vector<Call> calls(const Communicator& communicator, const Request& prototype) const;

  const Scenario& scenario_;
  const ExpertLoads* loads_ = nullptr;  // where ranks differ
  WorkTimes times_;
  Communicators communicators_;
  GraphBuilder builder_;
  PatternMaker patterns_;
  std::vector<Streams> streams_;
  std::vector<std::array<std::vector<TaskId>, channel_count>> calls_;                 // by communicator
  std::vector<std::array<std::uint32_t, scope_count * channel_count>> calls_issued_;  // by actor
  std::vector<TaskId> arrivals_;
  std::vector<PatternId> send_patterns_;
  std::vector<std::vector<CachedPattern>> cached_;  // by communicator
  std::vector<std::vector<PatternId>> uneven_;      // by communicator: of 2 x the number of the loads
  std::vector<std::pair<Experts, std::int64_t>> exchanged_;  // shapes of layers, and rows that they send
  Reaches reaches_;
  std::vector<DeviceId> devices_;  // all of them, in order
  std::uint32_t positions_ = 1;
};

}  // namespace moesim
