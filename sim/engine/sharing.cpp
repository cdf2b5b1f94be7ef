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
      resources_(graph.capacities.size()) {
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
    claims_.resize(slot + 1);
  }
  Flow& flow = flows_[slot];
  flow.pattern = pattern;
  flow.slowed = slowed;
  flow.alone = true;
  flow.claims = nullptr;
  flow.flow_bytes = graph_.pattern_table[pattern].flow_bytes;
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
  settled_.insert(settled_.end(), members_.begin(), members_.end());
}

/// Finds the members of a connected part, the resources that they contend for, and their weights there.
void Sharing::collect(std::uint32_t slot) {
  members_.clear();
  contended_.clear();
  include(slot);
  for (std::size_t i = 0; i < members_.size(); ++i) gather(members_[i]);
}

void Sharing::include(std::uint32_t slot) {
  flows_[slot].solved = round_;
  members_.push_back(slot);
}

/// Fills in the claims of a coflow that meets others, once, however often its part is solved.
void Sharing::weigh(std::uint32_t slot) {
  std::vector<Claim>& claims = claims_[slot];
  claims.clear();
  Flow& flow = flows_[slot];
  const double per_flow = 1 / flow.flow_bytes;
  for (const Load& load : graph_.loads_of(graph_.pattern_table[flow.pattern])) {
    const double need = load.bytes * ps_per_byte_[load.resource];
    claims.push_back({load.resource, need, need * per_flow});
  }
  flow.claims = claims.data();
  flow.claim_count = static_cast<std::uint32_t>(claims.size());
}

/// Fills in a member's limits; adds up weights; finds its neighbours.
void Sharing::gather(std::uint32_t slot) {
  Flow& flow = flows_[slot];
  if (flow.claims == nullptr) weigh(slot);
  double shortest = static_cast<double>(graph_.pattern_table[flow.pattern].at_least.count);
  for (const Claim& claim : flow.all_claims()) {
    Contended& resource = resources_[claim.resource];
    if (resource.round != round_) {
      if (users_.count(claim.resource) == 1) {
        shortest = std::max(shortest, claim.need);
        continue;
      }
      contend(claim.resource);
    }
    resource.weight += claim.weight;
  }
  flow.shortest = flow.slowed ? alone_pace(flow) : shortest;
  flow.frozen = false;
}

/// A resource is among those contended for; its users join the part.
void Sharing::contend(std::uint32_t resource) {
  const std::span<const std::uint32_t> users = users_.of(resource);
  resources_[resource] = {round_, static_cast<std::uint32_t>(users.size()), 1, 0};
  contended_.push_back(resource);
  for (const std::uint32_t user : users) {
    if (flows_[user].solved != round_) include(user);
  }
}

/// Raises the rate of all flows until every member is frozen.
void Sharing::fill() {
  list_levels();
  std::size_t left = members_.size();
  for (double level = 0; left > 0;) {
    const Level next = levels_[0];
    if (next.index >= contended_.size()) {
      Flow& member = flows_[members_[next.index - contended_.size()]];
      if (!member.frozen) {
        level = std::max(level, next.level);
        freeze(member, level, member.shortest);
        --left;
      }
    } else if (const Contended& resource = resources_[contended_[next.index]]; resource.flowing > 0) {
      const double now = std::max(level, resource.left / resource.weight);
      if (now > next.level) {
        sink(0, {now, next.index});
        continue;
      }
      level = std::max(level, next.level);
      left -= resource.flowing;
      saturate(contended_[next.index], level);
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
  for (const std::uint32_t resource : contended_)
    levels_.push_back({1 / resources_[resource].weight, index++});
  for (const std::uint32_t slot : members_) {
    const Flow& member = flows_[slot];
    if (member.shortest > 0) levels_.push_back({member.flow_bytes / member.shortest, index});
    ++index;
  }
  for (std::size_t i = levels_.size(); i-- > 0;) sink(i, levels_[i]);
}

/// Freezes all that flow through a resource.
void Sharing::saturate(std::uint32_t resource, double level) {
  for (const std::uint32_t slot : users_.of(resource)) {
    Flow& member = flows_[slot];
    if (!member.frozen) freeze(member, level, member.flow_bytes / level);
  }
}

/// Resources that nobody else claims change, too; nobody looks at them.
void Sharing::freeze(Flow& member, double level, double pace) {
  member.frozen = true;
  member.pace = pace;
  for (const Claim& claim : member.all_claims()) {
    Contended& resource = resources_[claim.resource];
    resource.left -= claim.weight * level;
    resource.weight -= claim.weight;
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
