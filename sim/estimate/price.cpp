#include "sim/estimate/price.hpp"

#include "sim/work/share.hpp"

namespace moesim {

CallTime Prices::call(const Act& act, const PricedPlace& place, const DivisionGroups& groups) const {
  const auto layer = static_cast<std::size_t>(place.layer);
  if (act.operation == Operation::all_to_all) {
    const Layer& shape = scenario_.model.layers[layer];
    const Leg leg = leg_of(act.activity, collective_of(scenario_.collectives, act.activity));
    return traffic_.exchange(groups.inside(Scope::expert), shape.experts, leg,
                             static_cast<double>(dispatched_rows(scenario_, layer)),
                             padded_capacity(scenario_, layer) > 0);
  }
  const bool of_experts = act.activity == Activity::expert_tensor;
  const CallBytes sent =
      bytes_of(act, scenario_, place.layer, place.times, of_experts ? computed_rows(scenario_, layer) : 0);
  const bool is_ring = act.operation == Operation::point_to_point;
  const GroupSet set = is_ring ? groups.ring : groups.inside(scope_of(act.activity));
  CallTime time = traffic_.operation(set, act.operation, collective_of(scenario_.collectives, act.activity),
                                     static_cast<double>(sent.bytes.count));
  time.latency *= static_cast<double>(sent.rounds);
  const bool is_uneven = of_experts && gathered_tokens(scenario_, layer) == 0;
  const double busiest = is_uneven ? traffic_.busiest(scenario_.layout.sizes().expert) : 1;
  time.bytes *= static_cast<double>(sent.rounds) * busiest;
  time.group *= static_cast<double>(sent.rounds) * busiest;
  time.sent *= static_cast<double>(sent.rounds) * (is_ring ? 2 : 1);  // both of a pair count as ranks
  return time;
}

ActPrice Prices::of(const Act& act, const PricedPlace& place, const DivisionGroups& groups) const {
  ActPrice price;
  if (act.kind == ActKind::compute) {
    const Timed timed = timed_of(act, place.times);
    price.time = std::max(timed.time, timed.host.device);
    price.slowdown = static_cast<float>(timed.slowdown);
  } else if (act.kind == ActKind::call) {
    const CallTime time = call(act, place, groups);
    price.is_call = true;
    price.holds_multiprocessors = scenario_.collectives.communication_sms > 0;
    price.time = rounded(RealTime{time.latency});
    price.bytes = time.bytes;
    price.sent = time.sent;
    const double key = is_exchange(act.activity) ? scenario_.collectives.slowed_by_compute : 1;
    price.slowed = std::max(time.bytes, time.group * std::max(key, beside_compute_));
  }
  return price;
}

std::vector<ActPrice> Prices::of(std::span<const Act> acts, const PricedPlace& place,
                                 const DivisionGroups& groups) const {
  std::vector<ActPrice> prices;
  prices.reserve(acts.size());
  for (const Act& act : acts) prices.push_back(of(act, place, groups));
  return prices;
}

namespace {

/// A computation and a call that begin together, until both have ended, where the call takes no longer
/// meanwhile.
Time beside(const ActPrice& computed, const ActPrice& called, double pace) {
  const Time compute = computed.alone(pace);
  const Time call = called.alone();
  if (!called.holds_multiprocessors || computed.slowdown <= 1) return std::max(compute, call);
  const auto alone = static_cast<double>(compute.count);
  const double held = alone * static_cast<double>(computed.slowdown);
  if (rounded(RealTime{held}) <= call) return call;
  const double done = static_cast<double>(call.count) / held;
  return call + rounded(RealTime{(1 - done) * alone});
}

constexpr std::size_t row_length = 3;

/// Whether the acts from the first on are a row of a ring: a computation, a call beside it, and their end.
bool is_row(std::span<const Act> acts) {
  return acts.size() >= row_length && acts[0].blocks > 0 && acts[0].kind == ActKind::compute &&
         acts[0].lane != main_lane && acts[1].kind == ActKind::call && acts[2].kind == ActKind::join;
}

}  // namespace

Time Prices::row(const Priced& acts, double pace) {
  if (acts.prices[1].slowed <= acts.prices[1].bytes) return beside(acts.prices[0], acts.prices[1], pace);
  play_.begin(pace);
  play_.issue(0, acts);
  return play_.end();
}

/// Acts on the main lane follow each other, and so do rows of a ring; what else goes beside is played.
Time Prices::alone(std::span<const Act> acts, std::span<const ActPrice> prices, double pace) {
  Time sum;
  for (std::size_t i = 0; i < acts.size(); ++i) {
    if (is_row(acts.subspan(i))) {
      sum += row({acts.subspan(i, row_length), prices.subspan(i, row_length)}, pace);
      i += row_length - 1;
    } else if (acts[i].lane == main_lane) {
      sum += prices[i].alone(pace);
    } else {
      play_.begin(pace);
      play_.issue(0, {acts, prices});
      return play_.end();
    }
  }
  return sum;
}

namespace {

void add(std::span<const ActPrice> prices, double& compute, double& sent) {
  for (const ActPrice& price : prices) (price.is_call ? sent : compute) += to_seconds(price.alone());
}

}  // namespace

WorkSeconds& WorkSeconds::operator+=(const WorkSeconds& more) {
  forward += more.forward;
  backward += more.backward;
  forward_sent += more.forward_sent;
  backward_sent += more.backward_sent;
  return *this;
}

/// The clocks of device and host over a pass; nothing where no host has a part. A call runs when the host has
/// come to it; what goes beside the main lane does not count.
HostPath Prices::path(Pass pass, std::span<const Act> acts, std::span<const ActPrice> prices,
                      const PricedPlace& place) const {
  const HostTimes& host = scenario_.habits().host;
  if (host.is_none()) return {};
  HostPath path;
  for (std::size_t i = 0; i < acts.size(); ++i) {
    if (acts[i].kind == ActKind::compute) {
      const Timed timed = timed_of(acts[i], place.times);
      if (pass == Pass::backward_weight && timed.time.count > 0)
        path += HostPath{.issue = host_of_weights(acts[i], scenario_, place.layer)};
      path += timed.host;
    }
    if (acts[i].kind != ActKind::call) continue;
    const Time time = acts[i].lane == main_lane ? prices[i].alone() : Time{};
    if (host_reads_counts(acts[i], scenario_)) path += HostPath::of_wait(host.wait);
    path += HostPath::of_launches(1, host_of_call(acts[i], scenario_), time);
  }
  return path;
}

Time Prices::issue(std::span<const Act> acts, const PricedPlace& place) const {
  Time sum;
  for (const Act& act : acts) {
    if (act.kind == ActKind::compute) sum += timed_of(act, place.times).host.issue;
    if (act.kind == ActKind::call) sum += host_of_call(act, scenario_);
  }
  return sum;
}

AloneTimes Prices::alone(const Programs& programs, const PricedPlace& place, const DivisionGroups& groups,
                         const Paces& paces) {
  AloneTimes times;
  for (std::size_t pass = 0; pass < times.passes[0].size(); ++pass) {
    const std::vector<Act>& acts = programs.alone[pass].acts;
    prices_.clear();
    for (const Act& act : acts) prices_.push_back(of(act, place, groups));
    times.passes[0][pass] = alone(acts, prices_, paces.least);
    times.passes[1][pass] = paces.are_one() ? times.passes[0][pass] : alone(acts, prices_, paces.most);
    const HostPath clocks = path(static_cast<Pass>(pass), acts, prices_, place);
    const Time least = clocks.cycle();  // the mean of many such passes in a row
    times.issue[pass] = clocks.issue;
    for (PassTimes& passes : times.passes) passes[pass] = std::max(passes[pass], least);
    if (pass == static_cast<std::size_t>(Pass::forward))
      add(prices_, times.work.forward, times.work.forward_sent);
    if (pass == static_cast<std::size_t>(Pass::backward))
      add(prices_, times.work.backward, times.work.backward_sent);
  }
  return times;
}

}  // namespace moesim
