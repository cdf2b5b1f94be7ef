#include "sim/lower/step.hpp"

#include <algorithm>
#include <utility>

#include "models/base/at.hpp"
#include "sim/work/work_times.hpp"

namespace moesim {

StepLowering::StepLowering(const Work& work, Loading loading, const Fold& fold)
    : work_(work),
      loads_(loading == Loading::as_routed ? work.loads.get() : nullptr),
      programs_(work.scenario, *work.times),
      communicators_(work.scenario, fold),
      builder_(static_cast<std::uint32_t>(communicators_.actors().size())),
      patterns_(work, loads_, communicators_, builder_),
      copies_(work, loads_, communicators_, builder_),
      streams_(communicators_.actors().size()),
      calls_(communicators_.count()),
      calls_issued_(communicators_.actors().size()) {
  positions_ = communicators_.fold().count;
  const auto per_direction =
      static_cast<std::size_t>(work.order.model_stages() * work.order.microbatches()) * positions_;
  arrivals_.assign(2 * per_direction, nothing);
  const std::size_t layers = work.scenario.model.layers.size();
  const std::size_t tasks =
      static_cast<std::size_t>(work.order.microbatches()) * layers * 10 * positions_ + 1000;
  builder_.reserve(tasks, tasks + tasks / 2);
  const Time start = work.scenario.habits().host.start;
  for (ActorId actor = 0; actor < streams_.size() && start.count > 0; ++actor)
    streams_[actor].host = host_task(actor, start, {.activity = Activity::host}, nothing);
}

TaskId StepLowering::compute(ActorId actor, const Timed& timed, const Tag& tag, TaskId input) {
  Streams& streams = streams_[actor];
  const bool own_pace = scenario().faults.paces == DevicePaces::each;
  const double pace = own_pace ? 1 : at(work_.paces, communicators_.actors()[actor].pipeline_rank);
  const Time time = pace == 1 ? timed.time : scaled(timed.time, pace);
  const TaskId arrival = std::exchange(streams.arrival, nothing);
  if (timed.host.drains()) input = both(both(streams.compute, input), arrival);
  const TaskId task = builder_.add_compute(actor, time, timed.slowdown, tag);
  edge(streams.compute, task);
  if (input != streams.compute) edge(input, task);
  edge(arrival, task);
  if (timed.host.is_nothing()) edge(streams.host, task);
  return streams.compute = timed.host.is_nothing() ? task : issue(actor, timed, tag, task, input);
}

TaskId StepLowering::host_task(ActorId actor, Time time, const Tag& tag, TaskId after) {
  const std::pair key{time, actor};
  const auto place =
      std::lower_bound(host_patterns_.begin(), host_patterns_.end(), key,
                       [](const auto& known, const auto& wanted) { return known.first < wanted; });
  PatternId pattern = nothing;
  if (place != host_patterns_.end() && place->first == key) {
    pattern = place->second;
  } else {
    const std::array members{actor};
    pattern = builder_.add_pattern({.latency = time}, {}, std::span(members).first(actor == nothing ? 0 : 1));
    host_patterns_.insert(place, {key, pattern});
  }
  const TaskId task = builder_.add_coflow(pattern, tag);
  edge(after, task);
  return task;
}

/// The device is done when its kernels have run and, with the host in between, the last of them could; the
/// host goes on at once, or where it waits for the device behind that. What waits add comes behind the
/// task, which may be slowed.
TaskId StepLowering::issue(ActorId actor, const Timed& timed, const Tag& tag, TaskId task, TaskId before) {
  const HostPath& path = timed.host;
  Tag of_host = tag;
  of_host.activity = Activity::host;
  TaskId& host = streams_[actor].host;
  const TaskId last = path.lag < Time{} ? nothing : host_task(nothing, path.lag, of_host, host);
  TaskId drained = nothing, stalled = nothing;
  if (path.drains()) {
    stalled = host_task(nothing, std::max(Time{}, path.device - timed.time), of_host, task);
    drained = path.drain >= timed.time ? host_task(nothing, path.drain - timed.time, of_host, task)
                                       : host_task(nothing, path.drain, of_host, before);
  }
  host = both(host_task(actor, path.issue, of_host, host), drained);
  const TaskId done = builder_.add_barrier(of_host);
  for (const TaskId part : {task, last, stalled}) edge(part, done);
  return done;
}

void StepLowering::busy_host(ActorId actor, Time time, const Tag& tag) {
  if (time.count == 0) return;
  Tag of_host = tag;
  of_host.activity = Activity::host;
  TaskId& host = streams_[actor].host;
  host = host_task(actor, time, of_host, host);
}

TaskId StepLowering::issue_call(ActorId actor, const Tag& tag) {
  const Time time = scenario().habits().host.call;
  busy_host(actor, time, tag);
  return time.count == 0 ? nothing : streams_[actor].host;
}

void StepLowering::wait_for_counts(ActorId actor, const Tag& tag, TaskId input) {
  Tag of_host = tag;
  of_host.activity = Activity::host;
  Streams& streams = streams_[actor];
  const bool is_counted_by_kernels = scenario().collectives.dispatch->host_waits();  // of the exchange itself
  const TaskId before = is_counted_by_kernels ? streams.communication : nothing;
  const TaskId counted = both(both(before, input), streams.arrival);
  streams.host = host_task(actor, scenario().habits().host.wait, of_host, both(streams.host, counted));
}

TaskId StepLowering::copy(ActorId actor, const std::vector<Op>& ops, Tag tag, TaskId input) {
  tag.activity = Activity::copy;
  tag.overlapped = false;
  tag.pipeline_rank = static_cast<std::int16_t>(communicators_.actors()[actor].pipeline_rank);
  return compute(actor, time_of(ops, scenario()), tag, input);
}

TaskId StepLowering::next_call(ActorId actor, Scope scope, Channel channel, PatternId pattern,
                               const Tag& tag) {
  const auto of = static_cast<std::size_t>(channel);
  std::vector<TaskId>& calls = calls_[communicators_.index_of(scope, actor)][of];
  const std::uint32_t number = calls_issued_[actor][static_cast<std::size_t>(scope) * channel_count + of]++;
  if (number == calls.size()) calls.push_back(builder_.add_coflow(pattern, tag));
  return calls[number];
}

TaskId StepLowering::call(ActorId actor, Scope scope, PatternId pattern, const Tag& tag, TaskId input,
                          bool is_issued) {
  const TaskId task = next_call(actor, scope, Channel::exchange, pattern, tag);
  Streams& streams = streams_[actor];
  TaskId& last = scope == Scope::expert ? streams.communication : streams.inside;
  edge(is_issued ? streams.host : issue_call(actor, tag), task);
  edge(last, task);
  if (input != last) edge(input, task);
  edge(std::exchange(streams.arrival, nothing), task);
  return last = task;
}

TaskId StepLowering::call_beside(ActorId actor, Scope scope, Channel channel, PatternId pattern,
                                 const Tag& tag, TaskId input) {
  const TaskId task = next_call(actor, scope, channel, pattern, tag);
  edge(issue_call(actor, tag), task);
  TaskId& last = channel == Channel::gradient ? streams_[actor].gradient : streams_[actor].gather;
  edge(last, task);
  if (input != last) edge(input, task);
  return last = task;
}

TaskId StepLowering::both(TaskId one, TaskId other) {
  if (one == nothing || one == other) return other;
  if (other == nothing) return one;
  const TaskId barrier = builder_.add_barrier();
  edge(one, barrier);
  edge(other, barrier);
  return barrier;
}

void StepLowering::join(ActorId actor) {
  Streams& streams = streams_[actor];
  std::array<TaskId, 4> before{streams.compute, streams.communication, streams.inside, streams.arrival};
  std::sort(before.begin(), before.end());  // `nothing` is the highest number
  const auto end = std::unique(before.begin(), std::find(before.begin(), before.end(), nothing));
  TaskId last = before.front();
  if (end - before.begin() > 1) {
    last = builder_.add_barrier();
    std::for_each(before.begin(), end, [&](TaskId task) { edge(task, last); });
  }
  streams.compute = streams.communication = streams.inside = last;
  streams.arrival = nothing;
}

std::size_t StepLowering::arrival_index(bool gradient, std::int64_t model_stage, std::int64_t microbatch,
                                        std::uint32_t position) const {
  const std::int64_t stages = work_.order.model_stages();
  const auto row = static_cast<std::size_t>(
      ((gradient ? stages : 0) + model_stage) * work_.order.microbatches() + microbatch);
  return row * positions_ + position;
}

TaskId StepLowering::arrival(bool gradient, std::int64_t model_stage, std::int64_t microbatch,
                             std::uint32_t position, const Tag& tag) {
  TaskId& task = arrivals_[arrival_index(gradient, model_stage, microbatch, position)];
  if (task != nothing) return task;
  const std::vector<Place>& chain = work_.order.chains[at(work_.order.chain_of_microbatch, microbatch)];
  const Place& to = at(chain, model_stage);
  const Place& from = at(chain, gradient ? model_stage + 1 : model_stage - 1);
  if (from.rank == to.rank) return task = builder_.add_barrier(tag);
  Tag send = tag;
  send.activity = Activity::pipeline;
  send.pass = gradient ? PassKind::backward_input : PassKind::forward;
  send.overlapped = false;
  send.layer = -1;
  send.pipeline_rank = static_cast<std::int16_t>(to.rank);
  send.chunk = static_cast<std::int8_t>(to.chunk);
  return task = builder_.add_coflow(patterns_.send(from.rank, to.rank, position), send);
}

Timed StepLowering::timed(ActorId actor, const Act& act, const ActPlace& place) const {
  if (act.activity == Activity::embedding) return work_.times->embedding().in(act.pass);
  if (act.activity == Activity::head) return work_.times->head().in(act.pass);
  const bool has_experts =
      act.activity == Activity::feed_forward && at(work_.scenario.model.layers, place.layer).is_moe;
  if (loads_ == nullptr || !has_experts) return timed_of(act, work_.times->layer(place.layer));
  const ActorPlace& of = communicators_.actors()[actor];
  const std::uint32_t number = loads_->number_of(place.layer, place.microbatch, of.expert_group);
  return timed_of(act, work_.times->layer(place.layer), loads_->work(number, of.expert_rank).times);
}

TaskGraph StepLowering::finish() {
  std::vector<Rate> rates;
  for (const Link& link : work_.scenario.fabric().links()) rates.push_back(link.rate);
  return std::move(builder_).finish(rates);
}

}  // namespace moesim
