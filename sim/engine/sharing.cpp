// Progressive filling (Bertsekas and Gallager, Data Networks, 2nd ed., 1992, section 6.5.2): the rate f of
// all flows rises from zero; where a resource saturates, or a coflow reaches a limit of its own, the flows
// concerned keep their rate and the others rise on. A coflow with flow_bytes bytes a flow weighs need(r) /
// flow_bytes on resource r, where need(r) is the time that its bytes keep r busy; so r saturates at
//
//   f = (1 - sum of weight x f over frozen coflows) / (sum of weight over the others).
//
// That level only rises as coflows freeze below it, so a heap may hold old levels and mend them when they
// come up.
#include "sim/engine/sharing.hpp"

#include <algorithm>

namespace moesim {

Sharing::Sharing(const TaskGraph& graph)
    : graph_(graph),
      alone_(alone_times(graph)),
      slowed_(slowed_times(graph)),
      users_(graph.capacities.size()),
      contended_index_(graph.capacities.size(), 0) {
  for (const Rate capacity : graph.capacities) ps_per_byte_.push_back(1e12 / capacity.count);
}

void Sharing::touch(std::uint32_t slot) {
  if (flows_[slot].touched) return;
  flows_[slot].touched = true;
  touched_.push_back(slot);
}

void Sharing::join(std::uint32_t slot, PatternId pattern, bool slowed) {
  if (slot >= flows_.size()) {
    flows_.resize(slot + 1);
    member_index_.resize(slot + 1, nothing);
  }
  Flow& flow = flows_[slot];
  flow.pattern = pattern;
  flow.slowed = slowed;
  flow.alone = true;
  for (const Load& load : graph_.loads_of(graph_.pattern_table[pattern])) {
    const std::uint32_t others = users_.count(load.resource);
    if (others > 0) flow.alone = false;
    if (others == 1) flows_[users_.of(load.resource)[0]].alone = false;
    users_.enter(load.resource, slot);
  }
  touch(slot);
}

void Sharing::leave(std::uint32_t slot) {
  Flow& flow = flows_[slot];
  for (const Load& load : graph_.loads_of(graph_.pattern_table[flow.pattern])) {
    users_.leave(load.resource, slot);
    // All who remain on the resource are connected by it: one of them stands for all.
    if (!flow.alone && users_.count(load.resource) > 0) touch(users_.of(load.resource)[0]);
  }
  flow.pattern = nothing;
}

void Sharing::set_slowed(std::uint32_t slot, bool slowed) {
  flows_[slot].slowed = slowed;
  touch(slot);
}

double Sharing::alone_pace(const Flow& flow) const {
  return (flow.slowed ? slowed_ : alone_)[flow.pattern].count;
}

std::span<const std::uint32_t> Sharing::settle() {
  settled_.clear();
  if (touched_.empty()) return settled_;
  ++round_;
  for (std::size_t i = 0; i < touched_.size(); ++i) {
    Flow& flow = flows_[touched_[i]];
    flow.touched = false;
    if (flow.pattern == nothing || flow.solved == round_) continue;
    if (flow.alone) {
      flow.solved = round_;
      flow.pace = alone_pace(flow);
      settled_.push_back(touched_[i]);
    } else {
      solve(touched_[i]);
    }
  }
  touched_.clear();
  return settled_;
}

/// Solves the connected part of a slot.
void Sharing::solve(std::uint32_t slot) {
  collect(slot);
  if (members_.size() == 1) {
    Flow& flow = flows_[slot];
    flow.alone = true;
    flow.pace = alone_pace(flow);
  } else {
    fill();
  }
  for (const Member& member : members_) settled_.push_back(member.slot);
}

/// Finds the members of a connected part, the resources that they contend for, and their weights there.
void Sharing::collect(std::uint32_t slot) {
  members_.clear();
  contended_.clear();
  weights_.clear();
  include(slot);
  for (std::size_t i = 0; i < members_.size(); ++i) gather(i);
}

void Sharing::include(std::uint32_t slot) {
  Flow& flow = flows_[slot];
  if (flow.solved == round_) return;
  flow.solved = round_;
  member_index_[slot] = static_cast<std::uint32_t>(members_.size());
  members_.push_back({slot, 0, 0, graph_.pattern_table[flow.pattern].flow_bytes, 0, false});
}

/// Fills in a member's limits and weights; finds its neighbours.
void Sharing::gather(std::size_t index) {
  const Flow& flow = flows_[members_[index].slot];
  const Pattern& pattern = graph_.pattern_table[flow.pattern];
  double shortest = static_cast<double>(pattern.at_least.count);
  const double per_flow = 1 / pattern.flow_bytes;
  const std::uint32_t first_weight = static_cast<std::uint32_t>(weights_.size());
  for (const Load& load : graph_.loads_of(pattern)) {
    const double need = load.bytes * ps_per_byte_[load.resource];
    if (users_.count(load.resource) == 1) {
      shortest = std::max(shortest, need);
      continue;
    }
    const std::uint32_t contended = contend(load.resource);
    const double weight = need * per_flow;
    contended_[contended].weight += weight;
    weights_.push_back({contended, weight});
  }
  Member& member = members_[index];  // not before: neighbours have joined
  member.first_weight = first_weight;
  member.weight_end = static_cast<std::uint32_t>(weights_.size());
  member.shortest = flow.slowed ? alone_pace(flow) : shortest;
}

/// The index of a resource among those contended for; its users join the part when it is new.
std::uint32_t Sharing::contend(std::uint32_t resource) {
  const std::uint32_t known = contended_index_[resource];
  if (known < contended_.size() && contended_[known].resource == resource) return known;
  const std::uint32_t index = static_cast<std::uint32_t>(contended_.size());
  contended_index_[resource] = index;
  const std::span<const std::uint32_t> users = users_.of(resource);
  contended_.push_back({resource, static_cast<std::uint32_t>(users.size()), 1, 0});
  for (const std::uint32_t user : users) include(user);
  return index;
}

/// Raises the rate of all flows until every member is frozen.
void Sharing::fill() {
  list_levels();
  std::size_t left = members_.size();
  for (double level = 0; left > 0;) {
    const Level next = levels_[0];
    if (next.index >= contended_.size()) {
      Member& member = members_[next.index - contended_.size()];
      if (!member.frozen) {
        level = std::max(level, next.level);
        freeze(member, level, member.shortest);
        --left;
      }
    } else if (const Contended& resource = contended_[next.index]; resource.flowing > 0) {
      const double now = std::max(level, resource.left / resource.weight);
      if (now > next.level) {
        sink(0, {now, next.index});
        continue;
      }
      level = std::max(level, next.level);
      left -= resource.flowing;
      saturate(next.index, level);
    }
    const Level last = levels_.back();
    levels_.pop_back();
    if (!levels_.empty()) sink(0, last);
  }
}

/// The level at which each resource and each member's own limit would stop a rise of all.
void Sharing::list_levels() {
  levels_.clear();
  std::uint32_t index = 0;
  for (const Contended& resource : contended_) levels_.push_back({1 / resource.weight, index++});
  for (const Member& member : members_) {
    if (member.shortest > 0) levels_.push_back({member.flow_bytes / member.shortest, index});
    ++index;
  }
  for (std::size_t i = levels_.size(); i-- > 0;) sink(i, levels_[i]);
}

/// Freezes all that flow through a resource.
void Sharing::saturate(std::uint32_t contended, double level) {
  for (const std::uint32_t slot : users_.of(contended_[contended].resource)) {
    Member& member = members_[member_index_[slot]];
    if (!member.frozen) freeze(member, level, member.flow_bytes / level);
  }
}

void Sharing::freeze(Member& member, double level, double pace) {
  member.frozen = true;
  flows_[member.slot].pace = pace;
  for (std::uint32_t i = member.first_weight; i < member.weight_end; ++i) {
    Contended& resource = contended_[weights_[i].contended];
    resource.left -= weights_[i].weight * level;
    resource.weight -= weights_[i].weight;
    --resource.flowing;
  }
}

/// Puts a level at a position of the heap whose children are heaps already.
void Sharing::sink(std::size_t position, Level level) {
  const auto lower = [](const Level& a, const Level& b) {
    return a.level < b.level || (a.level == b.level && a.index < b.index);
  };
  while (2 * position + 1 < levels_.size()) {
    std::size_t child = 2 * position + 1;
    if (child + 1 < levels_.size() && lower(levels_[child + 1], levels_[child])) ++child;
    if (!lower(levels_[child], level)) break;
    levels_[position] = levels_[child];
    position = child;
  }
  levels_[position] = level;
}

}  // namespace moesim
