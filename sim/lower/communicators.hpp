// The communications of a scenario: which actors take part in each, and the traffic of each as a pattern.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "sim/collective/link_loads.hpp"
#include "sim/graph/task_graph.hpp"
#include "sim/lower/parts.hpp"
#include "sim/scenario/fold.hpp"
#include "sim/scenario/scenario.hpp"

namespace moesim {

/// Which groups a communication is for.
enum class Scope : std::uint8_t {
  expert,         ///< exchange of tokens
  tensor,         ///< activations of shared matrices
  data,           ///< gradients and parameters of what every rank holds
  expert_data,    ///< gradients and parameters of experts
  context,        ///< keys and values of shared sequences
  expert_tensor,  ///< rows of experts whose matrices are shared
};
inline constexpr std::size_t scope_count = 6;

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
  Communicators(const Scenario& scenario, Loading loading);

  const std::vector<ActorPlace>& actors() const { return actors_; }
  const Fold& fold() const { return fold_; }
  const Communicator& of(Scope scope, ActorId actor) const { return all_[index_of(scope, actor)]; }
  std::size_t index_of(Scope scope, ActorId actor) const {
    return index_[static_cast<std::size_t>(scope)][actor];
  }
  std::size_t count() const { return all_.size(); }
  /// Ranks that update the same parameters: this one, and the one that holds the same stages in a
  /// bidirectional pipeline.
  static std::vector<std::int64_t> holders(const Scenario& scenario, std::int64_t pipeline_rank);

 private:
  void add_scope(const Scenario& scenario, Scope scope, const std::vector<Group>& groups, std::int64_t rank);
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

/// Adds traffic to a pattern: flows over the links of the fabric, summed per link.
class PatternMaker {
 public:
  /// `grain`: how fine the engine wants to tell flows apart.
  explicit PatternMaker(const Fabric& fabric, FlowGrain grain = FlowGrain::coflow);
  /// One pattern for requests that go at the same time. `members` are the actors that take part.
  PatternId make(GraphBuilder& builder, const Collective& collective, std::span<const Request> requests,
                 std::span<const ActorId> members, const Interplay& interplay = {});

 private:
  void add(const Traffic& traffic, const Journey& journey, Pattern& pattern);
  double longest_alone(const Collective& collective, std::span<const Request> requests,
                       const Interplay& interplay) const;

  const Fabric& fabric_;
  LinkLoads loads_;
  std::vector<LinkWork> works_;  // scratch
  Parts parts_;
};

}  // namespace moesim
