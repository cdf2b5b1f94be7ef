#include "sim/lower/communicators.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "models/base/error.hpp"

namespace moesim {

namespace {

/// A request so many times over, one after the other.
Traffic traffic_of(const Collective& collective, const Request& request, const Fabric& fabric,
                   std::int64_t rounds) {
  Traffic traffic = collective.plan(request, fabric);
  if (rounds == 1) return traffic;
  for (Flow& flow : traffic.flows) flow.bytes *= static_cast<double>(rounds);
  for (Exchange& exchange : traffic.exchanges) exchange.bytes *= static_cast<double>(rounds);
  traffic.latency = traffic.latency * rounds;
  traffic.messages *= rounds;
  return traffic;
}

}  // namespace

Communicators::Communicators(const Scenario& scenario, Loading loading) : fold_(fold_of(scenario, loading)) {
  const Sizes& sizes = scenario.layout.sizes();
  for (std::int64_t rank = 0; rank < sizes.pipeline; ++rank) {
    for (std::uint32_t position = 0; position < fold_.count; ++position)
      actors_.push_back({.pipeline_rank = rank, .position = position});
  }
  const std::vector<Group> expert_groups = scenario.layout.expert_groups();
  place_experts(expert_groups);
  for (auto& index : index_) index.assign(actors_.size(), 0);
  for (std::int64_t rank = 0; rank < sizes.pipeline; ++rank) {
    add_scope(scenario, Scope::expert, expert_groups, rank);
    add_scope(scenario, Scope::tensor, scenario.layout.tensor_groups(), rank);
    add_scope(scenario, Scope::data, scenario.layout.data_groups(), rank);
    add_scope(scenario, Scope::expert_data, scenario.layout.expert_data_groups(), rank);
    add_scope(scenario, Scope::context, scenario.layout.context_groups(), rank);
    add_scope(scenario, Scope::expert_tensor, scenario.layout.expert_tensor_groups(), rank);
  }
}

/// Where one actor stands for several positions, the first of their groups stands for the others.
void Communicators::place_experts(const std::vector<Group>& expert_groups) {
  for (std::size_t group = expert_groups.size(); group-- > 0;) {
    for (std::size_t rank = expert_groups[group].size(); rank-- > 0;) {
      for (std::size_t a = fold_.of(expert_groups[group][rank]); a < actors_.size(); a += fold_.count) {
        actors_[a].expert_group = static_cast<std::int64_t>(group);
        actors_[a].expert_rank = static_cast<std::int64_t>(rank);
      }
    }
  }
}

std::vector<std::int64_t> Communicators::holders(const Scenario& scenario, std::int64_t pipeline_rank) {
  if (!scenario.schedule->is_bidirectional()) return {pipeline_rank};
  const std::int64_t mirror = scenario.layout.sizes().pipeline - 1 - pipeline_rank;
  return {std::min(pipeline_rank, mirror), std::max(pipeline_rank, mirror)};
}

void Communicators::add_scope(const Scenario& scenario, Scope scope, const std::vector<Group>& groups,
                              std::int64_t rank) {
  const bool synchronises = scope == Scope::data || scope == Scope::expert_data;
  const std::vector<std::int64_t> ranks =
      synchronises ? holders(scenario, rank) : std::vector<std::int64_t>{rank};
  if (ranks.front() != rank) return;  // the lower of two holders makes the communicator for both
  constexpr std::size_t none = ~std::size_t{0};
  std::vector<std::size_t> communicator_of(fold_.count, none);  // by representative
  for (const Group& group : groups) {
    std::size_t index = communicator_of[fold_.of(group.front())];
    if (index == none) {
      index = all_.size();
      all_.emplace_back();
      add_members(scope, ranks, group, communicator_of);
    }
    std::vector<DeviceId>& devices = all_[index].groups.emplace_back();
    for (const std::int64_t holder : ranks) {
      for (const std::uint32_t position : group) {
        ensure(communicator_of[fold_.of(position)] == index, "groups that fold to common actors fold alike");
        devices.push_back(scenario.layout.device(holder, position));
      }
    }
  }
}

/// The actors that stand for a group on these pipeline ranks join the newest communicator.
void Communicators::add_members(Scope scope, const std::vector<std::int64_t>& ranks, const Group& group,
                                std::vector<std::size_t>& communicator_of) {
  const std::size_t index = all_.size() - 1;
  std::vector<std::uint32_t> distinct;
  for (const std::uint32_t position : group) {
    const std::uint32_t representative = fold_.of(position);
    if (std::exchange(communicator_of[representative], index) != index) distinct.push_back(representative);
  }
  for (const std::int64_t rank : ranks) {
    for (const std::uint32_t representative : distinct) {
      const auto actor = static_cast<ActorId>(rank * fold_.count + representative);
      all_.back().members.push_back(actor);
      index_[static_cast<std::size_t>(scope)][actor] = index;
    }
  }
}

PatternMaker::PatternMaker(const Fabric& fabric, FlowGrain grain)
    : fabric_(fabric), loads_(fabric), parts_(grain) {}

void PatternMaker::add(const Traffic& traffic, const Journey& journey, Pattern& pattern) {
  const LinkLoads::Sums sums = loads_.add(traffic, journey, parts_.wants_flows() ? &parts_ : nullptr);
  pattern.latency = std::max(pattern.latency, traffic.latency);
  pattern.messages += traffic.messages;
  pattern.bytes_sent += std::llround(sums.sent);
  pattern.bytes_received += std::llround(sums.received);
  pattern.flow_bytes = std::max(pattern.flow_bytes, sums.flows == 0 ? 0.0 : sums.sent / sums.flows);
}

/// The picoseconds that the bytes of one of the requests take by themselves: the longest.
double PatternMaker::longest_alone(const Collective& collective, std::span<const Request> requests,
                                   const Interplay& interplay) const {
  double longest = 0;
  LinkLoads one(fabric_);
  for (const Request& request : requests) {
    one.add(traffic_of(collective, request, fabric_, interplay.rounds), interplay.journey());
    for (const LinkId link : one.links())
      longest = std::max(longest, one.load(link) * 1e12 / fabric_.link(link).rate.count);
    one.clear();
  }
  return longest;
}

PatternId PatternMaker::make(GraphBuilder& builder, const Collective& collective,
                             std::span<const Request> requests, std::span<const ActorId> members,
                             const Interplay& interplay) {
  Pattern pattern;
  pattern.holds_multiprocessors = interplay.holds_multiprocessors;
  pattern.slowdown = interplay.slowed_by_compute;
  for (const Request& request : requests)
    add(traffic_of(collective, request, fabric_, interplay.rounds), interplay.journey(), pattern);
  if (loads_.meets() && pattern.slowdown > 1)
    pattern.group_alone = longest_alone(collective, requests, interplay);
  loads_.take(works_);
  std::vector<LinkLoad> loads;
  for (const LinkWork& work : works_) loads.push_back({work.link, work.load, work.bytes});
  const PatternId id = builder.add_pattern(pattern, loads, members);
  parts_.write(builder, id);
  return id;
}

}  // namespace moesim
