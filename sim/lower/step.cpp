#include "sim/lower/step.hpp"

#include <algorithm>
#include <numeric>
#include <utility>

#include "models/base/error.hpp"
#include "sim/lower/servers.hpp"
#include "sim/work/holdings.hpp"
#include "sim/work/share.hpp"

namespace moesim {

Step::Step(const Scenario& scenario, Loading loading, const Fold& fold)
    : scenario_(scenario),
      loads_(loading == Loading::as_routed && scenario.loads ? &*scenario.loads : nullptr),
      times_(scenario),
      communicators_(scenario, fold),
      builder_(static_cast<std::uint32_t>(communicators_.actors().size())),
      patterns_(scenario.fabric(), {scenario.engine->flows(), scenario.engine->shares_links()}),
      streams_(communicators_.actors().size()),
      calls_(communicators_.count()),
      calls_issued_(communicators_.actors().size()),
      cached_(communicators_.count()),
      uneven_(communicators_.count()),
      reaches_(scenario) {
  const Sizes& sizes = scenario.layout.sizes();
  positions_ = communicators_.fold().count;
  devices_.resize(scenario.fabric().device_count());
  std::iota(devices_.begin(), devices_.end(), DeviceId{0});
  const auto per_direction =
      static_cast<std::size_t>(scenario.order.model_stages() * scenario.microbatches()) * positions_;
  arrivals_.assign(2 * per_direction, nothing);
  send_patterns_.assign(static_cast<std::size_t>(sizes.pipeline * sizes.pipeline) * positions_, nothing);
  const std::size_t layers = scenario.model.layers.size();
  const std::size_t tasks =
      static_cast<std::size_t>(scenario.microbatches()) * layers * 10 * positions_ + 1000;
  builder_.reserve(tasks, tasks + tasks / 2);
}

TaskId Step::compute(ActorId actor, const Timed& timed, const Tag& tag, TaskId input) {
  Streams& streams = streams_[actor];
  const double pace = scenario_.paces[static_cast<std::size_t>(communicators_.actors()[actor].pipeline_rank)];
  const Time time = pace == 1 ? timed.time : scaled(timed.time, pace);
  const TaskId task = builder_.add_compute(actor, time, timed.slowdown, tag);
  edge(streams.compute, task);
  if (input != streams.compute) edge(input, task);
  edge(std::exchange(streams.arrival, nothing), task);
  return streams.compute = task;
}

TaskId Step::next_call(ActorId actor, Scope scope, Channel channel, PatternId pattern, const Tag& tag) {
  const auto of = static_cast<std::size_t>(channel);
  std::vector<TaskId>& calls = calls_[communicators_.index_of(scope, actor)][of];
  const std::uint32_t number = calls_issued_[actor][static_cast<std::size_t>(scope) * channel_count + of]++;
  if (number == calls.size()) calls.push_back(builder_.add_coflow(pattern, tag));
  return calls[number];
}

TaskId Step::call(ActorId actor, Scope scope, PatternId pattern, const Tag& tag, TaskId input) {
  const TaskId task = next_call(actor, scope, Channel::exchange, pattern, tag);
  Streams& streams = streams_[actor];
  edge(streams.communication, task);
  if (input != streams.communication) edge(input, task);
  edge(std::exchange(streams.arrival, nothing), task);
  return streams.communication = task;
}

TaskId Step::call_beside(ActorId actor, Scope scope, Channel channel, PatternId pattern, const Tag& tag,
                         TaskId input) {
  const TaskId task = next_call(actor, scope, channel, pattern, tag);
  TaskId& last = channel == Channel::gradient ? streams_[actor].gradient : streams_[actor].gather;
  edge(last, task);
  if (input != last) edge(input, task);
  return last = task;
}

TaskId Step::both(TaskId one, TaskId other) {
  if (one == nothing || one == other) return other;
  if (other == nothing) return one;
  const TaskId barrier = builder_.add_barrier();
  edge(one, barrier);
  edge(other, barrier);
  return barrier;
}

void Step::join(ActorId actor) {
  Streams& streams = streams_[actor];
  std::array<TaskId, 3> before{streams.compute, streams.communication, streams.arrival};
  std::sort(before.begin(), before.end());  // `nothing` is the highest number
  const auto end = std::unique(before.begin(), std::find(before.begin(), before.end(), nothing));
  TaskId last = before.front();
  if (end - before.begin() > 1) {
    last = builder_.add_barrier();
    std::for_each(before.begin(), end, [&](TaskId task) { edge(task, last); });
  }
  streams.compute = streams.communication = last;
  streams.arrival = nothing;
}

TaskId Step::arrival(bool gradient, std::int64_t model_stage, std::int64_t microbatch, std::uint32_t position,
                     const Tag& tag) {
  const std::int64_t stages = scenario_.order.model_stages();
  const auto row = static_cast<std::size_t>(
      ((gradient ? stages : 0) + model_stage) * scenario_.microbatches() + microbatch);
  TaskId& task = arrivals_[row * positions_ + position];
  if (task != nothing) return task;
  const std::vector<Place>& chain =
      scenario_.order.chains[scenario_.order.chain_of_microbatch[static_cast<std::size_t>(microbatch)]];
  const Place& to = chain[static_cast<std::size_t>(model_stage)];
  const Place& from = chain[static_cast<std::size_t>(gradient ? model_stage + 1 : model_stage - 1)];
  if (from.rank == to.rank) return task = builder_.add_barrier(tag);
  Tag send = tag;
  send.work = Work::pipeline;
  send.pass = gradient ? PassKind::backward_input : PassKind::forward;
  send.overlapped = false;
  send.layer = -1;
  send.stage = static_cast<std::int16_t>(to.rank);
  send.chunk = static_cast<std::int8_t>(to.chunk);
  return task = builder_.add_coflow(send_pattern(from.rank, to.rank, position), send);
}

PatternId Step::send_pattern(std::int64_t from_rank, std::int64_t to_rank, std::uint32_t position) {
  const auto pair = static_cast<std::size_t>(from_rank * scenario_.layout.sizes().pipeline + to_rank);
  PatternId& pattern = send_patterns_[pair * positions_ + position];
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
  const auto receiver = static_cast<ActorId>(to_rank * positions_ + position);
  return pattern = patterns_.make(builder_, *scenario_.collectives.pipeline, sends, {&receiver, 1});
}

std::vector<Call> Step::calls(const Communicator& communicator, const Request& prototype) const {
  std::vector<Call> all(communicator.groups.size(), Call{prototype});
  for (std::size_t i = 0; i < all.size(); ++i) {
    all[i].request.group = communicator.groups[i];
    all[i].group = communicator.groups[i];
  }
  return all;
}

PatternId Step::find_or_make(std::size_t communicator, std::uint64_t key, auto make, std::int64_t rounds) {
  for (const CachedPattern& known : cached_[communicator]) {
    if (known.key == key && known.rounds == rounds) return known.pattern;
  }
  const PatternId made = make();
  cached_[communicator].push_back({key, rounds, made});
  return made;
}

std::uint32_t Step::load_number(ActorId actor, std::int64_t layer, std::int64_t microbatch) const {
  return loads_->number_of(layer, microbatch, communicators_.actors()[actor].expert_group);
}

const BlockTimes& Step::feed_forward_times(ActorId actor, std::int64_t layer, std::int64_t microbatch) const {
  const bool is_moe = scenario_.model.layers[static_cast<std::size_t>(layer)].is_moe;
  if (loads_ == nullptr || !is_moe) return times_.layer(layer).feed_forward;
  const std::int64_t rank = communicators_.actors()[actor].expert_rank;
  return loads_->work(load_number(actor, layer, microbatch), rank).times;
}

PatternId Step::exchange_pattern(ActorId actor, std::int64_t layer, std::int64_t microbatch, Work phase) {
  const bool outward = phase == Work::dispatch || phase == Work::combine_backward;
  const auto index = static_cast<std::size_t>(layer);
  if (loads_ == nullptr) return even_exchange_pattern(actor, index, outward);
  return uneven_exchange_pattern(actor, index, load_number(actor, layer, microbatch), outward);
}

PatternId Step::even_exchange_pattern(ActorId actor, std::size_t layer, bool outward) {
  const std::pair exchanged{scenario_.model.layers[layer].experts, dispatched_rows(scenario_, layer)};
  auto known = std::find(exchanged_.begin(), exchanged_.end(), exchanged);
  if (known == exchanged_.end()) known = exchanged_.insert(known, exchanged);
  const auto key = static_cast<std::uint64_t>(known - exchanged_.begin()) * 2 + (outward ? 0 : 1);
  return find_or_make(communicators_.index_of(Scope::expert, actor), key, [&] {
    return make_exchange(communicators_.of(Scope::expert, actor), layer, outward, nullptr);
  });
}

/// Both ways at once, since both need the rows.
PatternId Step::uneven_exchange_pattern(ActorId actor, std::size_t layer, std::uint32_t loads, bool outward) {
  std::vector<PatternId>& known = uneven_[communicators_.index_of(Scope::expert, actor)];
  if (known.empty()) known.assign(2 * static_cast<std::size_t>(loads_->count()), nothing);
  const std::size_t there = 2 * static_cast<std::size_t>(loads);
  if (known[there] == nothing) {
    const RankRows rows = loads_->rows(scenario_, loads);
    const Communicator& communicator = communicators_.of(Scope::expert, actor);
    known[there] = make_exchange(communicator, layer, true, &rows);
    known[there + 1] = make_exchange(communicator, layer, false, &rows);
  }
  return known[there + (outward ? 0 : 1)];
}

/// `rows` where ranks differ, else null.
PatternId Step::make_exchange(const Communicator& communicator, std::size_t layer, bool outward,
                              const RankRows* rows) {
  const Layer& shape = scenario_.model.layers[layer];
  const ExchangedRows sent{.rows = static_cast<double>(dispatched_rows(scenario_, layer)),
                           .tokens = static_cast<double>(tokens_per_device(scenario_)),
                           .padded = padded_capacity(scenario_, shape) > 0};
  const std::vector<Request> requests =
      exchange_requests(scenario_, shape.experts, outward, sent, communicator.groups, reaches_);
  std::vector<Call> of_groups;
  for (std::size_t i = 0; i < requests.size(); ++i) {
    Request& request = of_groups.emplace_back(Call{requests[i], communicator.groups[i]}).request;
    if (rows == nullptr) continue;
    request.rows = rows->sent;
    request.tokens = sent.tokens;
  }
  const Collective& collective = outward ? *scenario_.collectives.dispatch : *scenario_.collectives.combine;
  return patterns_.make(builder_, collective, of_groups, communicator.members,
                        {.holds_multiprocessors = scenario_.collectives.communication_sms > 0,
                         .slowed_by_compute = scenario_.collectives.slowed_by_compute,
                         .busiest = rows == nullptr ? scenario_.busiest_over_mean() : 1.0,
                         .returns = rows != nullptr && !outward});
}

PatternId Step::copies_pattern(ActorId actor) {
  if (loads_ == nullptr || scenario_.redundant_experts == 0) return nothing;
  constexpr std::uint64_t key = ~std::uint64_t{0};  // no shape of layers has that number
  return find_or_make(communicators_.index_of(Scope::expert, actor), key, [&] {
    const Communicator& communicator = communicators_.of(Scope::expert, actor);
    const std::vector<CopySum> sums = copy_sums(scenario_, communicators_.actors()[actor].pipeline_rank);
    std::vector<std::vector<DeviceId>> holders;  // of each sum, group by group
    for (const std::vector<DeviceId>& group : communicator.groups) {
      for (const CopySum& sum : sums) {
        std::vector<DeviceId>& devices = holders.emplace_back();
        for (const std::int64_t rank : sum.ranks) devices.push_back(group[static_cast<std::size_t>(rank)]);
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
    // What brings gradients to a server cannot sum them in place; what servers use among themselves can.
    const bool to_server = scenario_.gradient_sync.updater == Updater::server;
    const Collectives& collectives = scenario_.collectives;
    return patterns_.make(builder_, to_server ? *collectives.servers : *collectives.gradients, requests,
                          communicator.members,
                          {.holds_multiprocessors = scenario_.collectives.communication_sms > 0});
  });
}

PatternId Step::tensor_pattern(ActorId actor, Operation operation) {
  const std::size_t index = communicators_.index_of(Scope::tensor, actor);
  return find_or_make(index, static_cast<std::uint64_t>(operation), [&] {
    const Communicator& communicator = communicators_.of(Scope::tensor, actor);
    const std::int64_t tokens = share_of(scenario_).tokens();
    const Request prototype{.operation = operation,
                            .bytes = size_of(Precision::bf16) * (tokens * scenario_.model.hidden)};
    return patterns_.make(builder_, *scenario_.collectives.tensor, calls(communicator, prototype),
                          communicator.members,
                          {.holds_multiprocessors = scenario_.collectives.communication_sms > 0});
  });
}

PatternId Step::sync_pattern(ActorId actor, Scope scope, Operation operation, const Collective& collective,
                             Bytes bytes) {
  const auto key = static_cast<std::uint64_t>(bytes.count) * 8 + static_cast<std::uint64_t>(operation);
  return find_or_make(communicators_.index_of(scope, actor), key, [&] {
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
    return patterns_.make(builder_, collective, requests, communicator.members,
                          {.holds_multiprocessors = scenario_.collectives.communication_sms > 0});
  });
}

PatternId Step::embedding_pattern(ActorId actor, Bytes bytes) {
  const std::size_t index = communicators_.index_of(Scope::embedding, actor);
  return find_or_make(index, static_cast<std::uint64_t>(bytes.count), [&] {
    const Communicator& communicator = communicators_.of(Scope::embedding, actor);
    const bool to_server = scenario_.gradient_sync.updater == Updater::server;
    const Collectives& collectives = scenario_.collectives;
    return patterns_.make(builder_, to_server ? *collectives.servers : *collectives.gradients,
                          calls(communicator, {.operation = Operation::all_reduce, .bytes = bytes}),
                          communicator.members,
                          {.holds_multiprocessors = scenario_.collectives.communication_sms > 0});
  });
}

PatternId Step::context_pattern(ActorId actor, Operation operation, Bytes whole) {
  return sync_pattern(actor, Scope::context, operation, *scenario_.collectives.context, whole);
}

PatternId Step::ring_pattern(ActorId actor, Bytes bytes, std::int64_t rounds) {
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
      sends.push_back({{.operation = Operation::point_to_point, .group = pairs[i], .bytes = bytes},
                       communicator.groups[i / size]});
    return patterns_.make(
        builder_, *scenario_.collectives.context, sends, communicator.members,
        {.holds_multiprocessors = scenario_.collectives.communication_sms > 0, .rounds = rounds});
  };
  const auto key =
      static_cast<std::uint64_t>(bytes.count) * 8 + static_cast<std::uint64_t>(Operation::point_to_point);
  return find_or_make(communicators_.index_of(Scope::context, actor), key, make, rounds);
}

PatternId Step::expert_tensor_pattern(ActorId actor, std::int64_t layer, std::int64_t microbatch,
                                      Operation operation) {
  const Precision precision =
      operation == Operation::all_gather ? scenario_.precision.dispatch : scenario_.precision.combine;
  const std::int64_t rows =
      loads_ == nullptr
          ? computed_rows(scenario_, static_cast<std::size_t>(layer))
          : loads_->work(load_number(actor, layer, microbatch), communicators_.actors()[actor].expert_rank)
                .rows;
  const Bytes whole = row_bytes(scenario_.model.hidden, precision) * rows;
  const auto key = static_cast<std::uint64_t>(whole.count) * 8 + static_cast<std::uint64_t>(operation);
  return find_or_make(communicators_.index_of(Scope::expert_tensor, actor), key, [&] {
    const Communicator& communicator = communicators_.of(Scope::expert_tensor, actor);
    return patterns_.make(builder_, *scenario_.collectives.expert_tensor,
                          calls(communicator, {.operation = operation, .bytes = whole}), communicator.members,
                          {.holds_multiprocessors = scenario_.collectives.communication_sms > 0,
                           .busiest = scenario_.busiest_over_mean()});
  });
}

TaskGraph Step::finish() {
  std::vector<Rate> rates;
  for (const Link& link : scenario_.fabric().links()) rates.push_back(link.rate);
  return std::move(builder_).finish(rates);
}

}  // namespace moesim
