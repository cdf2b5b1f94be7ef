// A plan's way to divide layers, and the groups that communicate in it.
#pragma once

#include <array>
#include <cstddef>
#include <vector>

#include "sim/graph/activity.hpp"
#include "sim/scenario/layout.hpp"

namespace moesim {

/// Groups that communicate at the same time, by the number under which TrafficTimes remembers them.
using GroupSet = std::size_t;

/// A plan's way to divide layers, before its schedule is known.
struct Division {
  Sizes sizes;
  std::vector<Axis> placement;
};

/// Groups of one division; those that synchronise also for a pipeline that holds each stage twice.
struct DivisionGroups {
  GroupSet expert, tensor, context, expert_tensor;  ///< of communications inside layers
  GroupSet ring;                                    ///< each context-parallel rank and the next
  std::array<GroupSet, 2> data, expert_data;        ///< of pipelines in one direction, in both
  /// Of pipelines in one direction: ranks over which the scenario shards, by whether of experts, and those
  /// that hold the same shard.
  std::array<GroupSet, 2> sharers, replicas;
  GroupSet send;  ///< a stage to the next; without one, any
  GroupSet ends;  ///< the first stage and the last
  /// Communicators' memory, by whether a pipeline goes both ways, whether gradients are summed on every rank,
  /// and whether first and last stage have copies of the embedding.
  std::array<std::array<std::array<double, 2>, 2>, 2> outside;

  GroupSet inside(Scope scope) const {
    return scope == Scope::expert          ? expert
           : scope == Scope::context       ? context
           : scope == Scope::expert_tensor ? expert_tensor
                                           : tensor;
  }
};

}  // namespace moesim
