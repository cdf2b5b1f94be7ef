#include "sim/lower/patterns.hpp"

#include <algorithm>
#include <numeric>

#include "models/base/at.hpp"
#include "sim/lower/servers.hpp"
#include "sim/work/holdings.hpp"
#include "sim/work/share.hpp"

namespace moesim {

Patterns::Patterns(const Work& work, const ExpertLoads* loads, const Communicators& communicators,
                   GraphBuilder& builder)
    : work_(work),
      scenario_(work.scenario),
      loads_(loads),
      communicators_(communicators),
      beside_compute_(work.times ? work.times->communication_slowdown() : 1),
      builder_(builder),
      maker_(scenario_.fabric(), {scenario_.engine->flows(), scenario_.engine->shares_links()}),
      cached_(communicators.count()),
      uneven_(communicators.count()),
      reaches_(scenario_),
      devices_(scenario_.fabric().device_count()) {
  std::iota(devices_.begin(), devices_.end(), DeviceId{0});
  const std::int64_t ranks = scenario_.layout.sizes().pipeline;
  sends_.assign(static_cast<std::size_t>(ranks * ranks) * communicators.fold().count, nothing);
}

PatternId Patterns::of(ActorId actor, const Act& call, const ActPlace& place) {
  if (call.operation == Operation::all_to_all)
    return exchange(actor, leg_of(call.activity, collective_of(scenario_.collectives, call.activity)), place);
  const bool has_experts = call.activity == Activity::expert_tensor;
  const std::int64_t rows = has_experts ? computed_rows(actor, place) : 0;
  const LayerTimes& times = work_.times->layer(std::max<std::int64_t>(0, place.layer));
  const CallBytes bytes = bytes_of(call, scenario_, place.layer, times, rows);
  if (call.operation == Operation::point_to_point)
    return ring(actor, collective_of(scenario_.collectives, call.activity), bytes);
  const bool is_uneven =
      has_experts && gathered_tokens(scenario_, static_cast<std::size_t>(place.layer)) == 0;
  return in_groups(actor, call, bytes, is_uneven ? scenario_.busiest_over_mean() : 1.0);
}

PatternId Patterns::send(std::int64_t from_rank, std::int64_t to_rank, std::uint32_t position) {
  const std::uint32_t positions = communicators_.fold().count;
  const auto pair = static_cast<std::size_t>(from_rank * scenario_.layout.sizes().pipeline + to_rank);
  PatternId& pattern = sends_[pair * positions + position];
  if (pattern != nothing) return pattern;
  std::vector<std::array<DeviceId, 2>> pairs;
  std::vector<std::span<const DeviceId>> senders;  // each is a group of its own, in memory that stays
  for (std::uint32_t p = 0; p < scenario_.layout.sizes().stage_devices(); ++p) {
    if (communicators_.fold().of(p) != position) continue;
    pairs.push_back({scenario_.layout.device(from_rank, p), scenario_.layout.device(to_rank, p)});
    senders.push_back(std::span(devices_).subspan(pairs.back()[0], 1));
  }
  std::vector<Call> sends;
  for (std::size_t i = 0; i < pairs.size(); ++i) {
    sends.push_back(
        {{.operation = Operation::point_to_point, .group = pairs[i], .bytes = sent_to_stage(scenario_)},
         senders[i]});
  }
  const auto receiver = static_cast<ActorId>(to_rank * positions + position);
  return pattern = maker_.make(builder_, *scenario_.collectives.pipeline, sends, {&receiver, 1});
}

std::vector<Call> Patterns::calls(const Communicator& communicator, const Request& prototype) const {
  std::vector<Call> all(communicator.groups.size(), Call{prototype});
  for (std::size_t i = 0; i < all.size(); ++i) {
    all[i].request.group = communicator.groups[i];
    all[i].group = communicator.groups[i];
  }
  return all;
}

PatternId Patterns::find_or_make(std::size_t communicator, std::uint64_t key, auto make,
                                 std::int64_t rounds) {
  for (const CachedPattern& known : cached_[communicator]) {
    if (known.key == key && known.rounds == rounds) return known.pattern;
  }
  const PatternId made = make();
  cached_[communicator].push_back({key, rounds, made});
  return made;
}

std::uint32_t Patterns::load_number(ActorId actor, const ActPlace& place) const {
  return loads_->number_of(place.layer, place.microbatch, communicators_.actors()[actor].expert_group);
}

/// By the experts of the actor.
std::int64_t Patterns::computed_rows(ActorId actor, const ActPlace& place) const {
  if (loads_ == nullptr)
    return moesim::computed_rows(scenario_, static_cast<std::size_t>(place.layer), work_.loads.get());
  return loads_->work(load_number(actor, place), communicators_.actors()[actor].expert_rank).rows;
}

PatternId Patterns::exchange(ActorId actor, Leg leg, const ActPlace& place) {
  const auto layer = static_cast<std::size_t>(place.layer);
  if (loads_ == nullptr) return even_exchange(actor, layer, leg);
  return uneven_exchange(actor, layer, load_number(actor, place), leg);
}

PatternId Patterns::even_exchange(ActorId actor, std::size_t layer, Leg leg) {
  const std::pair exchanged{scenario_.model.layers[layer].experts,
                            dispatched_rows(scenario_, layer, work_.loads.get())};
  auto known = std::find(exchanged_.begin(), exchanged_.end(), exchanged);
  if (known == exchanged_.end()) known = exchanged_.insert(known, exchanged);
  const auto key =
      static_cast<std::uint64_t>(known - exchanged_.begin()) * leg_count + static_cast<std::uint64_t>(leg);
  return find_or_make(communicators_.index_of(Scope::expert, actor), key, [&] {
    return make_exchange(communicators_.of(Scope::expert, actor), layer, leg, nullptr);
  });
}

/// All ways at once, since all need the rows.
PatternId Patterns::uneven_exchange(ActorId actor, std::size_t layer, std::uint32_t loads, Leg leg) {
  std::vector<PatternId>& known = uneven_[communicators_.index_of(Scope::expert, actor)];
  if (known.empty()) known.assign(leg_count * static_cast<std::size_t>(loads_->count()), nothing);
  const std::size_t there = leg_count * static_cast<std::size_t>(loads);
  if (known[there] == nothing) {
    const RankRows rows = loads_->rows(scenario_, loads);
    const Experts& experts = scenario_.model.layers[layer].experts;
    const auto tokens = static_cast<double>(tokens_per_device(scenario_, layer) * rows.ranks);
    const std::optional<Coactivation>& coactive = scenario_.router.coactivation;
    const SlotTopics topics =
        coactive ? topics_of(*coactive, loads_->placement(static_cast<std::int64_t>(layer)), experts.count)
                 : SlotTopics{};
    const UnevenRows uneven{.sent = rows.sent, .reach = RankReach(rows, experts.top_k, tokens, topics)};
    const Communicator& communicator = communicators_.of(Scope::expert, actor);
    for (const Leg one : {Leg::out, Leg::home, Leg::again}) {
      if (one == Leg::again && !scenario_.collectives.dispatch->counts_rows()) continue;
      known[there + static_cast<std::size_t>(one)] = make_exchange(communicator, layer, one, &uneven);
    }
  }
  return known[there + static_cast<std::size_t>(leg)];
}

/// `rows` where ranks differ, else null.
PatternId Patterns::make_exchange(const Communicator& communicator, std::size_t layer, Leg leg,
                                  const UnevenRows* rows) {
  const Layer& shape = scenario_.model.layers[layer];
  const ExchangedRows sent{.rows = static_cast<double>(dispatched_rows(scenario_, layer, work_.loads.get())),
                           .tokens = static_cast<double>(tokens_per_device(scenario_, layer)),
                           .padded = padded_capacity(scenario_, layer) > 0};
  const std::vector<Request> requests =
      exchange_requests(scenario_, shape.experts, leg, sent, communicator.groups, reaches_,
                        rows == nullptr ? nullptr : &rows->reach);
  std::vector<Call> of_groups;
  for (std::size_t i = 0; i < requests.size(); ++i) {
    Request& request = of_groups.emplace_back(Call{requests[i], communicator.groups[i]}).request;
    if (rows == nullptr) continue;
    request.rows = rows->sent;
  }
  const Activity activity = leg == Leg::home ? Activity::combine : Activity::dispatch;
  Interplay in_the_way = interplay();
  in_the_way.slowed_by_compute = std::max(beside_compute_, scenario_.collectives.slowed_by_compute);
  in_the_way.busiest = rows == nullptr ? scenario_.busiest_over_mean() : 1.0;
  in_the_way.returns = rows != nullptr && leg == Leg::home;
  return maker_.make(builder_, collective_of(scenario_.collectives, activity), of_groups,
                     communicator.members, in_the_way);
}

PatternId Patterns::copies(ActorId actor) {
  if (loads_ == nullptr || scenario_.redundant_experts == 0) return nothing;
  constexpr std::uint64_t key = ~std::uint64_t{0};  // no shape of layers has that number
  return find_or_make(communicators_.index_of(Scope::expert, actor), key, [&] {
    const Communicator& communicator = communicators_.of(Scope::expert, actor);
    const std::vector<CopySum> sums =
        copy_sums(scenario_, work_.loads.get(), communicators_.actors()[actor].pipeline_rank);
    std::vector<std::vector<DeviceId>> holders;  // of each sum, group by group
    for (const std::vector<DeviceId>& group : communicator.groups) {
      for (const CopySum& sum : sums) {
        std::vector<DeviceId>& devices = holders.emplace_back();
        for (const std::int64_t rank : sum.ranks) devices.push_back(at(group, rank));
      }
    }
    std::vector<Call> requests;
    for (std::size_t i = 0; i < holders.size(); ++i) {
      requests.push_back({{.operation = Operation::all_reduce,
                           .group = holders[i],
                           .bytes = sums[i % sums.size()].gradients},
                          communicator.groups[i / sums.size()]});
    }
    if (requests.empty()) return PatternId{nothing};
    return maker_.make(builder_, sums_in_place(), requests, communicator.members, interplay());
  });
}

/// What brings gradients to a server cannot sum them in place; what servers use among themselves can.
const Collective& Patterns::sums_in_place() const {
  const Collectives& collectives = scenario_.collectives;
  return scenario_.gradient_sync.updater == Updater::server ? *collectives.servers : *collectives.gradients;
}

PatternId Patterns::embedding(ActorId actor, Bytes bytes) {
  const std::size_t index = communicators_.index_of(Scope::embedding, actor);
  return find_or_make(index, static_cast<std::uint64_t>(bytes.count), [&] {
    const Communicator& communicator = communicators_.of(Scope::embedding, actor);
    return maker_.make(builder_, sums_in_place(),
                       calls(communicator, {.operation = Operation::all_reduce, .bytes = bytes}),
                       communicator.members, interplay());
  });
}

namespace {

std::uint64_t key_of(Operation operation, Bytes bytes) {
  return static_cast<std::uint64_t>(bytes.count) * 8 + static_cast<std::uint64_t>(operation);
}

}  // namespace

PatternId Patterns::sync(ActorId actor, Scope scope, Operation operation, const Collective& collective,
                         Bytes bytes) {
  return find_or_make(communicators_.index_of(scope, actor), key_of(operation, bytes), [&] {
    const Communicator& communicator = communicators_.of(scope, actor);
    std::vector<std::vector<std::vector<DeviceId>>> concerned_of;
    std::vector<Call> requests;
    for (const std::vector<DeviceId>& whole : communicator.groups) {
      for (const std::vector<DeviceId>& group :
           concerned_of.emplace_back(concerned(scenario_, operation, {whole}))) {
        if (group.size() > 1)
          requests.push_back({{.operation = operation, .group = group, .bytes = bytes}, whole});
      }
    }
    return maker_.make(builder_, collective, requests, communicator.members, interplay());
  });
}

/// Of all members of the groups alike.
PatternId Patterns::in_groups(ActorId actor, const Act& call, const CallBytes& bytes, double busiest) {
  const Scope scope = scope_of(call.activity);
  return find_or_make(communicators_.index_of(scope, actor), key_of(call.operation, bytes.bytes), [&] {
    const Communicator& communicator = communicators_.of(scope, actor);
    Interplay in_the_way = interplay();
    in_the_way.busiest = busiest;
    if (is_exchange(call.activity))
      in_the_way.slowed_by_compute = std::max(beside_compute_, scenario_.collectives.slowed_by_compute);
    return maker_.make(builder_, collective_of(scenario_.collectives, call.activity),
                       calls(communicator, {.operation = call.operation, .bytes = bytes.bytes}),
                       communicator.members, in_the_way);
  });
}

/// As many bytes from each rank of a context-parallel group to the next, round by round.
PatternId Patterns::ring(ActorId actor, const Collective& collective, const CallBytes& bytes) {
  const auto make = [&] {
    const Communicator& communicator = communicators_.of(Scope::context, actor);
    std::vector<std::array<DeviceId, 2>> pairs;
    for (const std::vector<DeviceId>& group : communicator.groups) {
      for (std::size_t i = 0; i < group.size(); ++i)
        pairs.push_back({group[i], group[(i + 1) % group.size()]});
    }
    const auto size = static_cast<std::size_t>(communicator.group_size());
    std::vector<Call> sends;
    for (std::size_t i = 0; i < pairs.size(); ++i)
      sends.push_back({{.operation = Operation::point_to_point, .group = pairs[i], .bytes = bytes.bytes},
                       communicator.groups[i / size]});
    Interplay in_the_way = interplay();
    in_the_way.rounds = bytes.rounds;
    return maker_.make(builder_, collective, sends, communicator.members, in_the_way);
  };
  return find_or_make(communicators_.index_of(Scope::context, actor),
                      key_of(Operation::point_to_point, bytes.bytes), make, bytes.rounds);
}

}  // namespace moesim
