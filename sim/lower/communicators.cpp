#include "sim/lower/communicators.hpp"

#include <algorithm>
#include <utility>

#include "models/base/at.hpp"
#include "models/base/error.hpp"
#include "sim/work/holdings.hpp"
#include "sim/work/shard_groups.hpp"

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

Communicators::Communicators(const Scenario& scenario, const Fold& fold) : fold_(fold) {
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
  add_shards(scenario);
  if (const auto ranks = embedding_ranks(scenario)) {
    std::vector<Group> positions;
    for (std::uint32_t position = 0; position < sizes.stage_devices(); ++position)
      positions.push_back({position});
    add_groups(scenario, Scope::embedding, positions, {ranks->begin(), ranks->end()});
  }
}

void Communicators::add_shards(const Scenario& scenario) {
  constexpr std::array scopes{Scope::shard, Scope::replica, Scope::expert_shard, Scope::expert_replica};
  const std::vector<std::vector<Group>> groups = groups_of_shards(scenario);
  for (std::size_t i = 0; i < groups.size(); ++i) {
    for (std::int64_t rank = 0; rank < scenario.layout.sizes().pipeline; ++rank)
      add_scope(scenario, scopes[i], groups[i], rank);
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
  add_groups(scenario, scope, groups, ranks);
}

void Communicators::add_groups(const Scenario& scenario, Scope scope, const std::vector<Group>& groups,
                               const std::vector<std::int64_t>& ranks) {
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
      at(index_, scope)[actor] = index;
    }
  }
}

PatternMaker::PatternMaker(const Fabric& fabric, const Detail& detail)
    : fabric_(fabric), loads_(fabric), parts_(detail.grain), shares_links_(detail.shares_links) {}

void PatternMaker::add(const Traffic& traffic, const Journey& journey, Pattern& pattern) {
  const LinkLoads::Sums sums = loads_.add(traffic, journey, parts_.wants_flows() ? &parts_ : nullptr);
  pattern.latency = std::max(pattern.latency, traffic.latency);
  pattern.messages += traffic.messages;
  pattern.bytes_sent = (Bytes{pattern.bytes_sent} + from_bytes(sums.sent)).count;
  pattern.bytes_received = (Bytes{pattern.bytes_received} + from_bytes(sums.received)).count;
  pattern.flow_bytes = std::max(pattern.flow_bytes, sums.flows == 0 ? 0.0 : sums.sent / sums.flows);
}

void PatternMaker::begin_group(std::span<const DeviceId> devices) {
  loads_.begin_group();
  parts_.begin_group(group_);
  if (!stands_for_several_) return;
  const auto first = static_cast<std::uint32_t>(footprints_.links.size());
  footprints_.groups.push_back({.devices = devices, .first_link = first});
}

void PatternMaker::end_group(const Pattern& own, Pattern& whole) {
  whole.latency = std::max(whole.latency, own.latency);
  whole.flow_bytes = std::max(whole.flow_bytes, own.flow_bytes);
  whole.messages += own.messages;
  whole.bytes_sent += own.bytes_sent;
  whole.bytes_received += own.bytes_received;
  ++group_;
  if (!stands_for_several_) return;
  const std::span<const LinkId> links = loads_.links_of_group();
  footprints_.links.insert(footprints_.links.end(), links.begin(), links.end());
  Footprint& group = footprints_.groups.back();
  group.link_count = static_cast<std::uint32_t>(links.size());
  group.latency = own.latency;
  group.flow_bytes = own.flow_bytes;
}

/// Group by group.
void PatternMaker::add_groups(const Collective& collective, std::span<const Call> calls,
                              const Interplay& interplay, Pattern& pattern) {
  group_ = 0;
  for (std::size_t i = 0; i < calls.size();) {
    const std::span<const DeviceId> devices = calls[i].group;
    Pattern own;
    begin_group(devices);
    for (; i < calls.size() && calls[i].group.data() == devices.data(); ++i)
      add(traffic_of(collective, calls[i].request, fabric_, interplay.rounds), interplay.journey(), own);
    end_group(own, pattern);
  }
}

/// The picoseconds that what a link has to do takes.
double PatternMaker::alone(LinkId link, const LinkLoads& loads) const {
  return loads.load(link) * 1e12 / fabric_.link(link).rate.count;
}

/// What each of the newest groups takes alone; where they meet, also the longest of these.
void PatternMaker::find_times_alone(const Collective& collective, std::span<const Call> calls,
                                    const Interplay& interplay, Pattern& pattern) {
  const std::span<Footprint> groups = std::span(footprints_.groups).last(group_);
  if (!loads_.meets()) {
    for (Footprint& group : groups) {
      for (const LinkId link : std::span(footprints_.links).subspan(group.first_link, group.link_count))
        group.alone = std::max(group.alone, alone(link, loads_));
    }
    return;
  }
  LinkLoads one(fabric_);
  std::size_t i = 0;
  for (Footprint& group : groups) {
    for (; i < calls.size() && calls[i].group.data() == group.devices.data(); ++i)
      one.add(traffic_of(collective, calls[i].request, fabric_, interplay.rounds), interplay.journey());
    for (const LinkId link : one.links()) group.alone = std::max(group.alone, alone(link, one));
    one.clear();
    pattern.group_alone = std::max(pattern.group_alone, group.alone);
  }
}

/// The loads of all links in their order; forgets them.
std::vector<LinkLoad> PatternMaker::take_loads() {
  loads_.take(works_);
  std::vector<LinkLoad> loads;
  for (const LinkWork& work : works_) loads.push_back({work.link, work.load, work.bytes});
  return loads;
}

PatternId PatternMaker::make(GraphBuilder& builder, const Collective& collective, std::span<const Call> calls,
                             std::span<const ActorId> members, const Interplay& interplay) {
  Pattern pattern;
  pattern.holds_multiprocessors = interplay.holds_multiprocessors;
  pattern.slowdown = interplay.slowed_by_compute;
  stands_for_several_ = !calls.empty() && calls.front().group.data() != calls.back().group.data();
  add_groups(collective, calls, interplay, pattern);
  if (stands_for_several_ && (pattern.slowdown > 1 || !shares_links_))
    find_times_alone(collective, calls, interplay, pattern);
  const PatternId id = builder.add_pattern(pattern, take_loads(), members);
  if (stands_for_several_) {
    const std::size_t first_group = footprints_.groups.size() - group_;
    footprints_.wholes.push_back(
        {.pattern = id,
         .first_group = static_cast<std::uint32_t>(first_group),
         .group_count = group_,
         .first_part = static_cast<std::uint32_t>(footprints_.group_of_part.size())});
  }
  parts_.write(builder, id, stands_for_several_ ? &footprints_.group_of_part : nullptr);
  return id;
}

}  // namespace moesim
