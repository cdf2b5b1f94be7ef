// The communications of a scenario: which actors take part in each, and the traffic of each as a pattern.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "models/base/at.hpp"
#include "sim/collective/link_loads.hpp"
#include "sim/graph/task_graph.hpp"
#include "sim/lower/likeness.hpp"
#include "sim/lower/parts.hpp"
#include "sim/scenario/scenario.hpp"
#include "sim/work/fold.hpp"

namespace moesim {

/// One communicator: the groups that it stands for (all whose members fold to the same actors) and the actors
/// that call it. Its members issue the same calls in the same order.
struct Communicator {
  std::vector<std::vector<DeviceId>> groups;
  std::vector<ActorId> members;
  std::int64_t group_size() const { return static_cast<std::int64_t>(groups.front().size()); }
};

/// An actor of the graph: a device, or one that stands for several of its pipeline rank.
struct ActorPlace {
  std::int64_t pipeline_rank = 0;
  std::uint32_t position = 0;                      ///< its representative of the pipeline rank's positions
  std::int64_t expert_group = 0, expert_rank = 0;  ///< its expert group, and its rank there
};

/// All actors and communicators of a scenario.
class Communicators {
 public:
  Communicators(const Scenario& scenario, const Fold& fold);

  const std::vector<ActorPlace>& actors() const { return actors_; }
  const Fold& fold() const { return fold_; }
  const Communicator& of(Scope scope, ActorId actor) const { return all_[index_of(scope, actor)]; }
  std::size_t index_of(Scope scope, ActorId actor) const { return at(index_, scope)[actor]; }
  std::size_t count() const { return all_.size(); }
  /// Ranks that update the same parameters: this one, and the one that holds the same stages in a
  /// bidirectional pipeline.
  static std::vector<std::int64_t> holders(const Scenario& scenario, std::int64_t pipeline_rank);

 private:
  void add_scope(const Scenario& scenario, Scope scope, const std::vector<Group>& groups, std::int64_t rank);
  /// Of ranks that hold the same, where only some of them share it.
  void add_shards(const Scenario& scenario);
  /// The groups of a scope over these pipeline ranks.
  void add_groups(const Scenario& scenario, Scope scope, const std::vector<Group>& groups,
                  const std::vector<std::int64_t>& ranks);
  void add_members(Scope scope, const std::vector<std::int64_t>& ranks, const Group& group,
                   std::vector<std::size_t>& communicator_of);
  void place_experts(const std::vector<Group>& expert_groups);

  Fold fold_;
  std::vector<ActorPlace> actors_;
  std::vector<Communicator> all_;
  std::vector<std::size_t> index_[scope_count];
};

/// How a communication and its devices get in each other's way.
struct Interplay {
  bool holds_multiprocessors = false;
  double slowed_by_compute = 1;  ///< how much longer it takes while a member computes
  double busiest = 1;       ///< what the most loaded member carries over the mean: everybody waits for it
  bool returns = false;     ///< every flow goes the other way: rows go back where they came from
  std::int64_t rounds = 1;  ///< the same traffic so many times, one after the other
  Journey journey() const { return {.busiest = busiest, .returns = returns}; }
};

/// A request, and the devices of the group that makes it: what goes as one communication if every device is
/// simulated. A group may make several.
struct Call {
  Request request;
  std::span<const DeviceId> group{};  ///< as long as the footprints are used
};

/// What an engine wants to know of a communication.
struct Detail {
  FlowGrain grain = FlowGrain::coflow;  ///< how fine flows are told apart
  bool shares_links = true;             ///< else what each group takes alone is all that counts
};

/// Adds traffic to a pattern: flows over the links of the fabric, summed per link.
class PatternMaker {
 public:
  explicit PatternMaker(const Fabric& fabric, const Detail& detail = {});
  /// One pattern for calls that go at the same time, those of a group one after another. `members` are the
  /// actors that take part.
  PatternId make(GraphBuilder& builder, const Collective& collective, std::span<const Call> calls,
                 std::span<const ActorId> members, const Interplay& interplay = {});
  /// Of the patterns so far that stand for several groups.
  const Footprints& footprints() const { return footprints_; }

 private:
  void add(const Traffic& traffic, const Journey& journey, Pattern& pattern);
  void add_groups(const Collective& collective, std::span<const Call> calls, const Interplay& interplay,
                  Pattern& pattern);
  void begin_group(std::span<const DeviceId> devices);
  void end_group(const Pattern& own, Pattern& whole);
  void find_times_alone(const Collective& collective, std::span<const Call> calls, const Interplay& interplay,
                        Pattern& pattern);
  double alone(LinkId link, const LinkLoads& loads) const;
  std::vector<LinkLoad> take_loads();

  const Fabric& fabric_;
  LinkLoads loads_;
  std::vector<LinkWork> works_;      // scratch
  std::uint32_t group_ = 0;          // of the pattern, that is being added
  bool stands_for_several_ = false;  // groups: their footprints are kept
  FlowParts parts_;
  bool shares_links_;
  Footprints footprints_;
};

}  // namespace moesim
